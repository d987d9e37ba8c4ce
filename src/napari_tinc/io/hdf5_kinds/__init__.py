"""Formats that are HDF5 inside, with conventions of their own: Imaris, MATLAB, netCDF, NeXus, EMD."""
