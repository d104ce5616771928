"""How plots and pages look: one set of colours, light and dark, for all reports."""

ARMS = 6
"""How many colours there are for variants; further ones begin anew."""

PLOT_STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfa; --ink: #22252a; --soft: #62686f; --rule: #e3e3de;
        --first: #7a8594; --second: #0b7a75; --swap: #d9822b; --good: #1d7a3a; --bad: #b3261e;
        --arm-0: #7a8594; --arm-1: #0b7a75; --arm-2: #b0561a; --arm-3: #5a4fb0; --arm-4: #a8326f; --arm-5: #6b7d1c; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #17191c; --ink: #e6e6e3; --soft: #9aa1ab; --rule: #2c3036;
          --first: #8d99a8; --second: #3cc2b8; --swap: #e39a4b; --good: #6fcf8a; --bad: #f2766d;
          --arm-0: #8d99a8; --arm-1: #3cc2b8; --arm-2: #e39a5e; --arm-3: #a79df0;
          --arm-4: #e58abb; --arm-5: #b6c95f; } }
figure { margin: .6rem 0 0; } figcaption { color: var(--soft); font-size: .88rem; } .scroll { overflow-x: auto; }
svg { width: 100%; min-width: 34rem; height: auto; display: block; }
svg text { font-family: inherit; font-size: 12px; fill: var(--soft); } svg .note { fill: var(--ink); }
.grid { stroke: var(--rule); } .rule { stroke: var(--ink); stroke-dasharray: 4 4; }
.mark { stroke: var(--swap); stroke-width: 1.2; }
.first, .arm-0 { --own: var(--arm-0); } .second, .arm-1 { --own: var(--arm-1); } .arm-2 { --own: var(--arm-2); }
.arm-3 { --own: var(--arm-3); } .arm-4 { --own: var(--arm-4); } .arm-5 { --own: var(--arm-5); }
.good { --own: var(--good); } .bad { --own: var(--bad); } .open { --own: var(--first); }
.line { fill: none; stroke: var(--own); stroke-width: 2; }
.area { stroke: none; fill: var(--own); fill-opacity: .85; } .area.band { fill-opacity: .18; }
.area.solid.faint { fill-opacity: .45; }
.dots { fill: none; stroke: var(--own); stroke-linecap: round; stroke-width: 2.4; stroke-opacity: .45; }
.dots.firm { stroke-width: 5; stroke-opacity: 1; }
.whisker { fill: none; stroke: var(--own); stroke-width: 2; } .square { fill: var(--own); }
.span.swap { fill: var(--swap); fill-opacity: .13; }
.key { background: var(--own); display: inline-block; width: .8em; height: .8em; border-radius: 2px;
       margin: 0 .3em 0 .9em; opacity: .85; } .key.faint { opacity: .45; }
"""

PAGE_STYLE = (
    PLOT_STYLE
    + """
body { background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; margin: 0 auto;
       max-width: 60rem; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .1rem; }
p, ul { margin: .3rem 0 .8rem; max-width: 46rem; } .soft { color: var(--soft); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; width: 100%;
        margin: .8rem 0; }
th, td { border-bottom: 1px solid var(--rule); padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top; }
th { font-weight: 500; color: var(--soft); } td.number, th.number { text-align: right; }
td.number { white-space: nowrap; } td.value { text-align: right; }
tr > .number:last-child, td.value { padding-right: 0; }
p.bad, li.bad, span.bad, td.bad { color: var(--bad); } span.good, td.good { color: var(--good); }
code { font-size: .92em; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } figure, table { break-inside: avoid; } }
"""
)


def arm_style(position: int) -> str:
    """Return the class of the variant at a place in the definition; the first is the control's grey."""
    return f"arm-{position % ARMS}"
