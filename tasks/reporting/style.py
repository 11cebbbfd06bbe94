"""The page's looks: dark on white, one column, and a picture is never broken over two printed pages."""

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: #fff; color: #222;
  font: 1rem/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .3rem; border-top: 1px solid #ddd; padding-top: 1rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
.missing { color: #555; font-style: italic; }
.headlines { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
.headlines div { border: 1px solid #ddd; border-radius: .3rem; padding: .5rem .8rem; }
dt { color: #555; font-size: .85rem; }
dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
figure { margin: 0; }
figcaption { margin: .3rem 0 .8rem; }
img { width: 100%; height: auto; }
details { margin: .6rem 0; font-size: .9rem; }
summary { cursor: pointer; color: #0b5394; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #eee; overflow-wrap: anywhere; }
th:first-child, td:first-child { text-align: left; }
footer { margin-top: 2.5rem; color: #555; font-size: .85rem; }
@media print { details:not([open]) { display: none; } body { max-width: none; padding: 0; } section, figure, .headlines { break-inside: avoid; } h2 { break-after: avoid; } }
"""
