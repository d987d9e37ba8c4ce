/** The panel at the side: looks, channels, overlays, the second file, and what the file promises. */

import { COLORMAP_NAMES, cssColor, tableOf } from "./colors.js";
import { HistogramView } from "./histogram.js";
import { leafAt, worstError } from "./leaves.js";
import { byId, make, setText } from "./page.js";
import { contextOf } from "./plane-view.js";
import { axisName, factLines, leafText, numberText, promiseText } from "./words.js";

/** @typedef {import('./viewer.js').Viewer} Viewer */

export class Panel {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.checking = /** @type {import('./dataset.js').Dataset | null} */ (null);
    this.colormap = byId("colormap", HTMLSelectElement);
    this.low = byId("low", HTMLInputElement);
    this.high = byId("high", HTMLInputElement);
    this.histogram = new HistogramView(viewer, byId("histogram", HTMLCanvasElement));
    for (const name of COLORMAP_NAMES) this.colormap.append(make("option", name, { value: name }));
    this.colormap.addEventListener("change", () => {
      if (!viewer.channel) return;
      viewer.channel.colormap = this.colormap.value;
      viewer.set({});
    });
    for (const input of [this.low, this.high]) {
      input.addEventListener("change", () => {
        const { low, high } = viewer.channel;
        const value = input.value.trim() ? Number(input.value) : Number.NaN;
        viewer.setWindow(input === this.low ? value : low, input === this.high ? value : high);
        input.value = numberText(input === this.low ? viewer.channel.low : viewer.channel.high);
      });
    }
    byId("auto", HTMLButtonElement).addEventListener("click", () => viewer.autoWindow());
    const bind = (/** @type {string} */ id, /** @type {'leaves' | 'calibrated' | 'smooth'} */ key) => {
      const box = byId(id, HTMLInputElement);
      box.addEventListener("change", () => viewer.set({ [key]: box.checked }));
      return () => {
        box.checked = viewer[key];
      };
    };
    this.checks = [bind("leaves", "leaves"), bind("calibration", "calibrated"), bind("smooth", "smooth")];
    const curtain = byId("curtain", HTMLInputElement);
    curtain.addEventListener("input", () => viewer.setCurtain(Number(curtain.value)));
    byId("remove-second", HTMLButtonElement).addEventListener("click", () => {
      viewer.removeSecond();
      viewer.set({});
      viewer.tell("removed");
    });
    byId("verify", HTMLButtonElement).addEventListener("click", () => this.verify());
    viewer.addEventListener("opened", () => this.describe());
    viewer.addEventListener("looks", () => this.refresh());
    viewer.addEventListener("moved", () => this.showLeaf());
    viewer.addEventListener("progress", () => this.showLeaf());
  }

  /** Show what a newly opened file says. */
  describe() {
    const { first } = this.viewer;
    if (!first) return;
    const { meta } = first;
    setText(byId("promise", HTMLElement), promiseText(meta));
    byId("facts", HTMLElement).replaceChildren(
      ...factLines(meta).flatMap(([label, value]) => [make("dt", label), make("dd", value)]),
    );
    byId("file", HTMLElement).hidden = false;
    const check = byId("verify", HTMLButtonElement);
    check.hidden = meta.flavour !== "tinc";
    check.disabled = this.checking === first;
    if (!check.disabled) setText(byId("verdict", HTMLElement), "");
    byId("calibration", HTMLInputElement).disabled = !meta.calibrated;
    byId("leaves", HTMLInputElement).disabled = meta.flavour !== "tinc";
    this.buildChannels();
    this.buildAxes();
    this.refresh();
  }

  /** Make a row for each channel. */
  buildChannels() {
    const { viewer } = this;
    const list = byId("channels", HTMLElement);
    list.hidden = viewer.channels.length < 2;
    const rows = viewer.channels.map((channel, i) => {
      const shown = make("input", "", { type: "checkbox", "aria-label": `Show ${channel.name}` });
      shown.addEventListener("change", () => {
        channel.visible = shown.checked;
        viewer.together = viewer.shown.length !== 1 || viewer.index[viewer.channelAxis] !== i;
        viewer.set({});
      });
      const name = make("button", channel.name, {
        type: "button",
        title: "Set the window and colours of this channel",
      });
      name.addEventListener("click", () => viewer.setIndex(viewer.channelAxis, i));
      const row = make("li");
      row.append(shown, make("i"), name);
      return row;
    });
    list.replaceChildren(...(list.hidden ? [] : rows));
  }

  /** Make a slider for each leading axis that is not that of channels. */
  buildAxes() {
    const { viewer } = this;
    const { leading, axes } = viewer.first?.meta ?? { leading: [], axes: [] };
    const fields = leading.map((count, axis) => {
      if (count < 2 || axis === viewer.channelAxis) return null;
      const field = make("label", axisName(axes[axis]), { class: "field" });
      const slider = make("input", "", {
        type: "range",
        min: "0",
        max: String(count - 1),
        step: "1",
        "data-axis": String(axis),
      });
      slider.addEventListener("input", () => viewer.setIndex(axis, Number(slider.value)));
      field.append(slider, make("output"));
      return field;
    });
    byId("axes", HTMLElement).replaceChildren(...fields.filter((field) => field !== null));
  }

  /** Show the state of every control. */
  refresh() {
    const { viewer } = this;
    const { first, second, channel } = viewer;
    if (!first || !channel) return;
    const labels = Boolean(first.meta.labels);
    for (const show of this.checks) show();
    byId("looks", HTMLElement).hidden = labels;
    byId("display", HTMLElement).hidden = labels && first.meta.volumes < 2;
    setText(byId("caption", HTMLElement), labels ? "Labels in front, coarse" : "Maximum projection, coarse, z upwards");
    if (
      !COLORMAP_NAMES.includes(channel.colormap) &&
      ![...this.colormap.options].some(({ value }) => value === channel.colormap)
    ) {
      this.colormap.append(make("option", "as in the file", { value: channel.colormap }));
    }
    this.colormap.value = channel.colormap;
    for (const [input, value] of /** @type {[HTMLInputElement, number][]} */ ([
      [this.low, channel.low],
      [this.high, channel.high],
    ])) {
      if (document.activeElement !== input) input.value = numberText(value);
    }
    this.histogram.refresh();
    [...byId("channels", HTMLElement).children].forEach((row, i) => {
      const [box, swatch, name] = row.children;
      const { visible, colormap } = viewer.channels[i];
      if (box instanceof HTMLInputElement) box.checked = visible;
      if (swatch instanceof HTMLElement) swatch.style.background = cssColor(tableOf(colormap)[255]);
      name.setAttribute("aria-pressed", String(i === viewer.index[viewer.channelAxis]));
    });
    for (const slider of byId("axes", HTMLElement).querySelectorAll("input")) {
      const axis = Number(slider.dataset.axis);
      slider.value = String(viewer.index[axis]);
      if (slider.nextElementSibling)
        setText(slider.nextElementSibling, `${viewer.index[axis]} / ${first.meta.leading[axis] - 1}`);
    }
    setText(
      byId("second-name", HTMLElement),
      second ? second.name : "Open a second file, or the original, beside the first.",
    );
    byId("remove-second", HTMLElement).hidden = !second;
    byId("curtain-field", HTMLElement).hidden = !second;
    byId("curtain", HTMLInputElement).value = String(viewer.curtain);
    this.showLeaf();
  }

  /** Show the leaf at the crosshair, and what its colour means. */
  showLeaf() {
    const { viewer } = this;
    const leaves = viewer.leaves ? viewer.first?.leaves.get(viewer.volume) : undefined;
    const leaf = leaves && leafAt(leaves, viewer.at);
    const note = byId("leaf", HTMLElement);
    if (!leaves && note.hidden && byId("legend", HTMLElement).hidden) return;
    note.hidden = !leaf;
    if (leaf) setText(note, leafText(leaf));
    const worst = leaves ? worstError(leaves) : 0;
    const legend = byId("legend", HTMLElement);
    if (worst && legend.hidden) {
      const bar = byId("legend-bar", HTMLCanvasElement);
      const table = tableOf("inferno");
      const context = contextOf(bar);
      for (let x = 0; x < bar.width; x++) {
        context.fillStyle = cssColor(table[60 + Math.round((195 * x) / bar.width)]);
        context.fillRect(x, 0, 1, bar.height);
      }
    }
    legend.hidden = !worst;
    setText(byId("legend-text", HTMLElement), `typical error (RMSE): 0 to ${numberText(worst)}`);
  }

  /** Check all checksums of the file. */
  async verify() {
    const { first, pool } = this.viewer;
    if (!first) return;
    const verdict = byId("verdict", HTMLElement);
    const button = byId("verify", HTMLButtonElement);
    this.checking = first;
    button.disabled = true;
    setText(verdict, "Checking…");
    const message = await pool.verify(first.id);
    if (this.checking === first) this.checking = null;
    if (first !== this.viewer.first) return;
    button.disabled = false;
    setText(verdict, message || "All checksums are right.");
  }
}
