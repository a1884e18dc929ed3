"""How pages look, and the few lines of script in them. They can be read without the script."""

STYLE = """
:root {
  color-scheme: light dark; --ink: #1c1e21; --soft: #5d646c; --faint: #8a9199; --line: #dfe2e6; --paper: #fff;
  --pane: #f6f7f8; --link: #0b5cad; --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00; --added: #e3f4e8;
  --gone: #fbe7e5; --c0: #29477c; --c1: #d17809; --c2: #648e52; --c3: #ab7ea5; --c4: #6c3d00;
  --c5: #1597fb; --c6: #322e23;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e6e9; --soft: #a7aeb6; --faint: #7d858d; --line: #34393f; --paper: #16181b; --pane: #1e2125;
    --link: #7db8f0; --good: #5fc690; --bad: #f2857d; --warn: #e3b04b; --added: #12331f; --gone: #431c1a;
    --c0: #0593ff; --c1: #d74c00; --c2: #7bfca7; --c3: #c66475; --c4: #ffc643; --c5: #d8ffff;
    --c6: #b5a4d2;
  }
}
* { box-sizing: border-box; }
html {
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  -webkit-text-size-adjust: 100%;
}
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink); }
h1, h2, h3, h4 {
  line-height: 1.25; font-weight: 600; text-wrap: balance; overflow-wrap: anywhere; unicode-bidi: isolate;
}
h1 { font-size: 1.9rem; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
h4 { font-size: .95rem; margin: 1.2rem 0 .4rem; }
p { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; unicode-bidi: isolate; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 1rem 0 0; font-size: .9rem; }
code, pre {
  font: .86em/1.5 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
code { overflow-wrap: anywhere; white-space: pre-wrap; unicode-bidi: isolate; }
pre {
  margin: .5rem 0; padding: .8rem 1rem; background: var(--pane); border-radius: 6px; overflow: auto;
  max-height: 36rem; tab-size: 4; unicode-bidi: isolate;
}
pre code { font-size: 1em; white-space: pre; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td {
  text-align: left; vertical-align: top; padding: .38rem 1.2rem .38rem 0; border-bottom: 1px solid var(--line);
  unicode-bidi: isolate; overflow-wrap: break-word;
}
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; white-space: nowrap; vertical-align: bottom; }
tbody th { font-weight: 500; }
th:last-child, td:last-child { padding-right: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
table.full { width: 100%; }
table.pairs th { color: var(--soft); font-weight: 400; white-space: nowrap; }
table.pairs th code { color: var(--ink); }
td { max-width: 34rem; }
td code, th code { overflow-wrap: break-word; }
thead th code { white-space: nowrap; }
.digest, .whole { white-space: nowrap; }
th[aria-sort] { cursor: pointer; user-select: none; }
th[aria-sort]:hover { color: var(--link); }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
.soft, .origin, .why { color: var(--soft); }
.origin, .why, .small { font-size: .84rem; }
.origin, .why { display: block; }
td .why { max-width: 22rem; }
.differences th.number:first-child { width: 2rem; }
.missing { color: var(--soft); }
.lead { color: var(--soft); margin-top: 0; }
.lead strong { color: var(--ink); font-weight: 600; }
.state { white-space: nowrap; font-weight: 500; }
.state::before {
  content: ""; display: inline-block; width: .55em; height: .55em; border-radius: 50%; margin-right: .4em;
  background: currentColor;
}
.COMPLETED { color: var(--good); }
.FAILED, .DIED, .TIMEOUT { color: var(--bad); }
.INTERRUPTED, .PREEMPTED { color: var(--warn); }
.RUNNING, .QUEUED { color: var(--link); }
.tag {
  display: inline-block; padding: 0 .5em; margin: 0 .3em .2em 0; border: 1px solid var(--line); border-radius:
  1em; font-size: .84rem; overflow-wrap: anywhere;
}
.kind { color: var(--soft); font-size: .84rem; white-space: nowrap; }
.result { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; margin: .2rem 0; }
.trace { border-left: 3px solid var(--bad); }
.note { border-left: 3px solid var(--line); padding-left: .9rem; white-space: pre-wrap; }
.diff span { display: block; padding: 0 .3rem; margin: 0 -.3rem; min-height: 1.5em; }
.diff { font-size: .82rem; }
.diff .added { background: var(--added); }
.diff .gone { background: var(--gone); }
.diff .place { color: var(--link); }
.diff .file { color: var(--soft); font-weight: 600; }
details { margin: .4rem 0; }
summary { cursor: pointer; padding: .15rem 0; overflow-wrap: anywhere; unicode-bidi: isolate; }
summary:hover { color: var(--link); }
details.run { border-top: 1px solid var(--line); padding: .5rem 0; }
details.run > summary h3 { display: inline; margin: 0; }
.headline { font-size: 1.12rem; }
.lead .why { font-size: inherit; }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
.plots {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(27rem, 100%), 1fr)); gap: 1.4rem 2rem;
  margin-top: .8rem;
}
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-weight: 600; font-size: .92rem; overflow-wrap: anywhere; unicode-bidi: isolate; }
figcaption small { font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--faint); stroke-width: 1; }
.curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.s0 { stroke: var(--c0); }
.s1 { stroke: var(--c1); }
.s2 { stroke: var(--c2); }
.s3 { stroke: var(--c3); }
.s4 { stroke: var(--c4); }
.s5 { stroke: var(--c5); }
.s6 { stroke: var(--c6); }
.d1 { stroke-dasharray: 8 4; }
.d2 { stroke-dasharray: .5 4; stroke-width: 2.2; }
.d3 { stroke-dasharray: 10 4 1 4; }
.pale { stroke-width: 1; stroke-opacity: .3; }
.leader { fill: none; stroke-width: 1; }
.end { stroke-width: 5; stroke-linecap: round; }
.halo { fill: none; stroke: var(--paper); stroke-width: 4; stroke-opacity: .65; stroke-linejoin: round; }
.names text { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.legend {
  display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; font-size: .88rem; margin: .4rem 0; padding: 0;
  list-style: none;
}
.legend svg { display: inline-block; width: 2.8em; height: .7em; margin-right: .45em; vertical-align: middle; }
.scale, .axis-of { position: absolute; opacity: 0; pointer-events: none; }
.scales, .axis-ofs { font-size: .82rem; color: var(--soft); white-space: nowrap; }
.scales { float: right; }
.axis-ofs { display: inline-block; margin-bottom: .2rem; }
.scales label, .axis-ofs label { cursor: pointer; padding: .25rem 0; margin-right: .8em; }
.scales label { margin: 0 0 0 .8em; }
.scale.lin:checked ~ .scales .lin, .scale.log:checked ~ .scales .log,
.axis-of.step:checked ~ .axis-ofs .step, .axis-of.time:checked ~ .axis-ofs .time {
  color: var(--ink); font-weight: 600; text-decoration: underline; text-underline-offset: .25em;
}
.scale.lin:checked ~ .log:not(.scale), .scale.log:checked ~ .lin:not(.scale),
.axis-of.step:checked ~ .plots .by-time, .axis-of.time:checked ~ .plots .by-step { display: none; }
.scale:focus-visible ~ .scales, .axis-of:focus-visible ~ .axis-ofs {
  outline: 2px solid var(--link); outline-offset: 2px;
}
.images { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-end; margin: .8rem 0; }
.images figure { max-width: 100%; }
.images img {
  display: block; max-width: 100%; max-height: 30rem; background: #fff; border: 1px solid var(--line);
  border-radius: 4px;
}
.images figcaption { font-weight: 400; font-size: .84rem; color: var(--soft); margin-top: .3rem; max-width: 30rem; }
footer {
  margin-top: 3.5rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft); font-size:
  .84rem;
}
@media (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  th, td { padding-right: .8rem; }
  html { font-size: 15px; }
  svg text { font-size: 15px; }
}
@media print {
  :root {
    color-scheme: light; --ink: #000; --soft: #444; --faint: #777; --line: #ccc; --paper: #fff; --pane:
    #f6f7f8; --link: #000; --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00; --added: #e3f4e8; --gone: #fbe7e5;
    --c0: #29477c; --c1: #d17809; --c2: #648e52; --c3: #ab7ea5; --c4: #6c3d00; --c5: #1597fb; --c6: #322e23;
  }
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav, .scales, .axis-ofs { display: none; }
  svg text { font-size: 15px; }
  h2, h3, summary { break-after: avoid; }
  tr, img { break-inside: avoid; }
  table { font-size: 8.5pt; }
  th, td { padding-right: .6rem; }
  .whole { white-space: normal; }
  pre { max-height: none; overflow: visible; }
  pre code { white-space: pre-wrap; overflow-wrap: anywhere; }
  .wide { overflow: visible; }
  .plots { grid-template-columns: 1fr 1fr; }
  * { print-color-adjust: exact; }
}
"""

#: Sorts tables of the class `sorts` by a column, opens what a link leads into, lets the keyboard reach what scrolls;
#: the page can be read without it.
SCRIPT = """
(function () {
  "use strict";
  function scrolls() {
    document.querySelectorAll("pre, .wide").forEach(function (each) {
      if (each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight) { each.tabIndex = 0; }
    });
  }
  scrolls();
  addEventListener("toggle", scrolls, true);
  document.querySelectorAll("table.sorts").forEach(function (table) {
    var body = table.tBodies[0];
    table.querySelectorAll("thead th").forEach(function (heading, column) {
      heading.setAttribute("aria-sort", "none");
      heading.tabIndex = 0;
      function key(row) { return row.cells[column].dataset.sort || row.cells[column].textContent; }
      function sort() {
        var down = heading.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("thead th").forEach(function (each) { each.setAttribute("aria-sort", "none"); });
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        Array.from(body.rows).map(function (row) { return [key(row), row]; }).sort(function (a, b) {
          var one = a[0] === "" ? NaN : Number(a[0]), other = b[0] === "" ? NaN : Number(b[0]), order;
          if (isNaN(one) !== isNaN(other)) { order = isNaN(one) ? 1 : -1; }
          else { order = isNaN(one) ? a[0].localeCompare(b[0]) : one - other; }
          return down ? -order : order;
        }).forEach(function (pair) { body.appendChild(pair[1]); });
      }
      heading.addEventListener("click", sort);
      heading.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
      });
    });
  });
  function open() {
    var target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (var node = target; node; node = node.parentElement) { if (node.tagName === "DETAILS") { node.open = true; } }
    if (target) { target.scrollIntoView(); }
  }
  addEventListener("hashchange", open);
  open();
})();
"""
