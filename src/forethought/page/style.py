"""The page's looks: light and dark, a phone and a desk, nothing fetched from anywhere."""

STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--dim:#5d6678;--paper:#f8f6f1;--card:#fff;--rule:#e4e0d6;--track:#ece8de;
--c0:#2563d9;--c1:#c8452f;--c2:#1f8a5b;--c3:#8a5cb8;--c4:#a9730f}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--dim:#9aa4b8;--paper:#14171e;--card:#1c2029;--rule:#2f3542;--track:#2a303c;
--c0:#7ea6ff;--c1:#ff8a75;--c2:#5fd09b;--c3:#c9a2ee;--c4:#e6b450}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{max-width:1000px;margin:0 auto;padding:40px 20px 96px}
h1{font-size:clamp(26px,5vw,38px);line-height:1.2;margin:0 0 10px;letter-spacing:-.02em;text-wrap:balance}
h2{font-size:23px;letter-spacing:-.01em;margin:60px 0 6px;scroll-margin-top:16px}h3{font-size:16px;margin:26px 0 4px}
p{margin:8px 0;max-width:68ch}.dim,figcaption,p.lead,.eyebrow{color:var(--dim)}.small{font-size:14px}
.eyebrow{font-size:13px;letter-spacing:.06em;text-transform:uppercase;margin:0 0 10px}
a{color:var(--c0);text-decoration:none}a:hover{text-decoration:underline}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px;margin:22px 0 0;padding:12px 0;border-block:1px solid var(--rule)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,205px),1fr));gap:12px;margin:24px 0}
.card,figure{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:14px 16px;margin:0;min-width:0}
.card b{display:block;font-size:27px;line-height:1.25;letter-spacing:-.02em;font-variant-numeric:tabular-nums}.card{font-size:14px;color:var(--dim)}
.card b{color:var(--ink)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--least,330px)),1fr));gap:14px;margin:14px 0}.grid.few{grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--least,330px)),1fr))}
figure{padding:14px}figcaption{font-size:13.5px;line-height:1.45;margin-top:8px}figure>b{display:block;font-size:14.5px;margin-bottom:6px}
.key{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;color:var(--dim)}.key i{display:inline-block;width:18px;height:0;border-top:3px solid;
margin:0 6px 4px 0;vertical-align:middle}.key i.dash{border-top-style:dashed;border-top-width:2px}
.chart{display:block;width:100%;max-width:460px;height:auto}.chart text{font:11px system-ui,sans-serif;fill:var(--dim)}.chart .rule{stroke:var(--rule)}
.scroll{overflow-x:auto;margin:14px 0;background:var(--card);border:1px solid var(--rule);border-radius:12px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14.5px}
td,th{padding:9px 14px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap;vertical-align:top}
tr:last-child td{border-bottom:0}th{font-weight:600;font-size:13px;color:var(--dim)}
td:first-child,th:first-child{text-align:left}tr.main td:first-child{font-weight:700}td.left{text-align:left}
.bar{display:block;width:130px;height:11px;margin:4px 0 0 auto}
img{display:block;border-radius:4px;max-width:100%;background:var(--track)}img.cells{image-rendering:pixelated}
.strip{display:grid;grid-template-columns:repeat(10,minmax(0,1fr));gap:5px;margin:8px 0 2px}
.frame{position:relative;display:block;min-width:0}.frame img{width:100%;height:auto}.frame>svg{position:absolute;inset:0;width:100%;height:100%}
.frame small{position:absolute;left:4px;bottom:2px;font-size:10px;color:#fff;text-shadow:0 0 3px #000,0 0 2px #000}
.frame .end{position:absolute;right:3px;bottom:3px;width:42%;border:2px solid #fff;border-radius:4px}
.film{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:12px 14px;margin:12px 0}
.future{display:grid;gap:3px;margin:2px 0 8px}.future img{width:100%;height:auto;border-radius:2px}.future .row{display:grid;
grid-template-columns:repeat(var(--columns),minmax(0,1fr));gap:3px}.future small{font-size:11.5px;color:var(--dim)}
.trio{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:6px;font-size:12px;color:var(--dim);text-align:center}.trio img{width:100%;height:auto}
.lane{margin:0 0 18px}.lane svg{display:block;width:100%;height:22px;margin:4px 0;background:var(--track);border-radius:4px}.lane a:focus-visible rect{stroke:var(--ink)}
.told{display:none;margin:8px 0;font-size:14px;overflow-wrap:anywhere}.told:target{display:block}.axis{display:flex;justify-content:space-between}
.film .grid{margin:10px 0 0}.film figure{border:0;padding:0}
.good{color:var(--c2)}.bad{color:var(--c1)}.note{border-left:3px solid var(--c4);padding:2px 0 2px 12px}
details{margin:14px 0}summary{cursor:pointer;color:var(--c0)}pre{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:12px;
padding:14px;font-size:12.5px;line-height:1.45}code{background:var(--track);padding:1px 5px;border-radius:4px;font-size:.92em}
dl{display:grid;grid-template-columns:minmax(110px,auto) 1fr;gap:6px 18px;font-size:14.5px}dt{font-weight:600}dd{margin:0;color:var(--dim)}
@media(max-width:700px){.strip{grid-template-columns:repeat(5,minmax(0,1fr))}}
@media(max-width:520px){main{padding:24px 14px 64px}td,th{padding:8px 9px}.card b{font-size:23px}h2{margin-top:46px}dl{grid-template-columns:1fr}dd{margin-bottom:6px}
.future .row{grid-template-columns:repeat(auto-fit,minmax(42px,1fr))}.future .row img:nth-child(even){display:none}.bar{width:84px}}
@media print{nav{display:none}.film,figure,.card{break-inside:avoid}}
"""
