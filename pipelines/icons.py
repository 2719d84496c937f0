"""The shapes of icons.

Drawn for a 16 × 16 box in the current colour. Different states get different outlines, so that they
stay apart in print and for people who see few colours.
"""

_RING = '<circle cx="8" cy="8" r="6.25"/>'

ICONS: dict[str, str] = {
    "arrow-right": '<path d="M2.75 8h10.5M9 3.75 13.25 8 9 12.25"/>',
    "arrow-up": '<path d="M8 13.25V2.75M3.75 7 8 2.75 12.25 7"/>',
    "bell": '<path d="M8 1.75v1M3 11.75c1-1 1.25-2 1.25-4.5a3.75 3.75 0 0 1 7.5 0'
    'c0 2.5.25 3.5 1.25 4.5zM6.5 13.25c.75 1.25 2.25 1.25 3 0"/>',
    "board": '<path d="M2.25 2.25h4.5v4.5h-4.5zM9.25 2.25h4.5v4.5h-4.5zM2.25 9.25h4.5v4.5h-4.5z'
    'M9.25 9.25h4.5v4.5h-4.5z"/>',
    "box": '<path d="M8 1.75 13.5 4.75v6.5L8 14.25l-5.5-3v-6.5zM2.5 4.75 8 7.75l5.5-3'
    'M8 7.75v6.5"/>',
    "check": '<path d="M2.75 8.5 6.25 12l7-7.75"/>',
    "check-circle": _RING + '<path d="M5.25 8.25 7.25 10.25 11 6"/>',
    "chevron-down": '<path d="M4 6.25 8 10.25l4-4"/>',
    "chevron-left": '<path d="M9.75 4 5.75 8l4 4"/>',
    "chevron-right": '<path d="M6.25 4l4 4-4 4"/>',
    "circle-dashed": '<circle cx="8" cy="8" r="6.25" stroke-dasharray="2.6 2.3"/>',
    "circle-minus": _RING + '<path d="M5.25 8h5.5"/>',
    "clock": _RING + '<path d="M8 4.5V8l2.25 1.5"/>',
    "code": '<path d="M5.25 4.25 1.75 8l3.5 3.75M10.75 4.25 14.25 8l-3.5 3.75"/>',
    "copy": '<rect x="5.5" y="5.5" width="8.25" height="8.25" rx="1.5"/>'
    '<path d="M10.5 5.5V3.75c0-.8-.6-1.5-1.5-1.5H3.75c-.8 0-1.5.7-1.5 1.5V9'
    'c0 .9.7 1.5 1.5 1.5H5.5"/>',
    "dot": '<circle cx="8" cy="8" r="3"/>',
    "download": '<path d="M8 2.25v8M4.5 7 8 10.25 11.5 7M2.5 13.5h11"/>',
    "equal": '<path d="M3 6h10M3 10h10"/>',
    "file": '<path d="M3.5 1.75h5.25L12.5 5.5v8.75h-9zM8.75 1.75V5.5h3.75"/>',
    "folder": '<path d="M1.75 3.25h4.5l1.5 1.75h6.5v8.25H1.75z"/>',
    "gate-closed": '<path d="M3 2v12M13 2v12M3 3.25h10M8 3.25V7M5.25 7h5.5v6.75h-5.5z"/>',
    "gate-open": '<path d="M3 2v12M13 2v12M5.25 2h5.5v4.25h-5.5z'
    'M4.75 11.5c1.1-1.1 2.2-1.1 3.25 0s2.2 1.1 3.25 0"/>',
    "history": '<path d="M2.25 8a5.75 5.75 0 1 0 1.9-4.27L2.25 5.5M2.25 2.25V5.5H5.5M8 5v3.25'
    'l2.25 1.25"/>',
    "hourglass": '<path d="M4 1.75h8M4 14.25h8M5 1.75v2.5L8 8l3-3.75v-2.5M5 14.25v-2.5L8 8'
    'l3 3.75v2.5"/>',
    "inbox": '<path d="M1.75 9.25 4 2.75h8l2.25 6.5v4H1.75zM1.75 9.25H5.5l1 1.75h3l1-1.75h3.75"/>',
    "info": _RING + '<path d="M8 7.25V11M8 4.9V5"/>',
    "layers": '<path d="M8 1.75 14.25 5 8 8.25 1.75 5zM1.75 8 8 11.25 14.25 8'
    'M1.75 11 8 14.25 14.25 11"/>',
    "menu": '<path d="M2 4h12M2 8h12M2 12h12"/>',
    "octagon": '<path d="M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4zM8 4.75v3.75'
    'M8 11v.1"/>',
    "pause": _RING + '<path d="M6.4 5.75v4.5M9.6 5.75v4.5"/>',
    "pipeline": '<circle cx="3.5" cy="8" r="1.75"/><circle cx="12.5" cy="3.75" r="1.75"/>'
    '<circle cx="12.5" cy="12.25" r="1.75"/>'
    '<path d="M5.25 8h1.5c2.5 0 1.5-4.25 4-4.25M6.75 8c2.5 0 1.5 4.25 4 4.25"/>',
    "plus": '<path d="M8 2.75v10.5M2.75 8h10.5"/>',
    "quote": '<path d="M2.25 2.75h11.5v8H7.75l-3.25 3v-3H2.25zM5 5.75h6M5 8h3.5"/>',
    "refresh": '<path d="M13.5 7.5A5.6 5.6 0 1 0 12 11.9M13.75 3.75V7.5H10"/>',
    "search": '<circle cx="7" cy="7" r="4.75"/><path d="m10.5 10.5 3.5 3.5"/>',
    "send": '<path d="M1.75 7.25 14.25 1.75l-4 12.5-2.75-5.25zM7.5 9l6.75-7.25"/>',
    "settings": '<path d="M1.75 4.75h6M11.25 4.75h3M1.75 11.25h3M8.25 11.25h6"/>'
    '<circle cx="9.5" cy="4.75" r="1.75"/><circle cx="6.5" cy="11.25" r="1.75"/>',
    "disk": '<ellipse cx="8" cy="4" rx="5.25" ry="2.25"/>'
    '<path d="M2.75 4v8c0 1.25 2.35 2.25 5.25 2.25s5.25-1 5.25-2.25V4'
    'M2.75 8c0 1.25 2.35 2.25 5.25 2.25s5.25-1 5.25-2.25"/>',
    "scissors": '<circle cx="4" cy="4.25" r="1.75"/><circle cx="4" cy="11.75" r="1.75"/>'
    '<path d="M5.5 5.25 13.25 11.5M5.5 10.75 13.25 4.5"/>',
    "shield": '<path d="M8 1.75 13.25 3.5v4.25c0 3.1-2 5.4-5.25 6.5-3.25-1.1-5.25-3.4-5.25-6.5V3.5z'
    'M5.5 8l1.75 1.75L10.5 6.25"/>',
    "skip": '<path d="M2.75 3.75 7 8l-4.25 4.25M8.25 3.75 12.5 8l-4.25 4.25"/>',
    "slash": _RING + '<path d="m3.75 12.25 8.5-8.5"/>',
    "spinner": '<circle cx="8" cy="8" r="6.25" opacity=".3"/>'
    '<path d="M8 1.75A6.25 6.25 0 0 1 14.25 8"/>',
    "triangle": '<path d="M8 2 14.5 13.5h-13zM8 6.5v3.25M8 11.5v.1"/>',
    "undo": '<path d="M5.25 2.75 2 6l3.25 3.25M2 6h7.5a3.75 3.75 0 0 1 0 7.5H6"/>',
    "user": '<circle cx="8" cy="5" r="3"/>'
    '<path d="M2.25 14c.6-3 2.9-4.5 5.75-4.5s5.15 1.5 5.75 4.5"/>',
    "x-circle": _RING + '<path d="m5.75 5.75 4.5 4.5M10.25 5.75l-4.5 4.5"/>',
}
