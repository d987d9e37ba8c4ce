"""x"""
WRITERS=()
NAMES=()
