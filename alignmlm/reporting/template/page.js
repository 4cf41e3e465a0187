"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PAGE_ROWS = 25, COLOURS = 8, DASHES = ["", "6 3", "2 3", "8 3 2 3"];

// ---- elements: texts are never parsed as HTML

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}
const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);
const unique = (values) => [...new Set(values)];
const isolated = (told) => `\u2068${told}\u2069`; // written from right to left or not, it turns nothing else

// ---- what is chosen: it stands in the address, so that a link shows the same

let chosen = new URLSearchParams();
let section = "";
const get = (key, fallback) => chosen.get(key) ?? fallback;

function put(key, value, fallback) {
  if (value === fallback) chosen.delete(key);
  else chosen.set(key, value);
  section = key.split(".")[0];
  writeAddress();
}

/** Write what is chosen into the address, and mark its place in the history as written here. */
function writeAddress() {
  const text = chosen.toString();
  history.replaceState(true, "", section || text ? `#${section}${text ? `?${text}` : ""}` : location.href);
}

/** Fill a select with [value, text] pairs, and call back with every new choice. */
function select(key, options, changed) {
  const element = byId(key.replace(".", "-")), fallback = options.length ? options[0][0] : "";
  const now = JSON.stringify(options);
  if (element.options_shown !== now) {
    element.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    element.options_shown = now;
  }
  const wanted = get(key, fallback);
  element.value = options.some(([value]) => value === wanted) ? wanted : fallback;
  element.disabled = options.length < 2;
  element.onchange = () => { put(key, element.value, fallback); changed(); };
  return element.value;
}

/** A check box that is on or off by default. */
function check(key, fallback, changed) {
  const element = byId(key.replace(".", "-"));
  element.checked = get(key, fallback) === "1";
  element.onchange = () => { put(key, element.checked ? "1" : "0", fallback); changed(); };
  return element.checked;
}

/** A check box a name; those that are off stand in the address. */
function checks(key, names, changed) {
  const part = (name) => name.replaceAll("|", "¦"); // "|" stands between names
  const off = new Set(get(key, "").split("|").filter(Boolean)), parent = byId(key.replace(".", "-"));
  if (parent.names_shown !== JSON.stringify(names)) {
    parent.replaceChildren(...names.map((name) => {
      const id = `${key}-${name}`;
      return el("span", {}, el("input", { type: "checkbox", id }), " ", el("label", { for: id }, name));
    }));
    parent.names_shown = JSON.stringify(names);
  }
  names.forEach((name, place) => {
    const box = parent.children[place].firstChild;
    box.checked = !off.has(part(name));
    box.onchange = () => {
      if (box.checked) off.delete(part(name));
      else off.add(part(name));
      put(key, names.map(part).filter((one) => off.has(one)).join("|"), "");
      changed();
    };
  });
  return names.filter((name) => !off.has(part(name)));
}

/** A field of text. */
function text(key, changed) {
  const element = byId(key.replace(".", "-"));
  if (element.value !== get(key, "")) element.value = get(key, "");
  element.oninput = () => { put(key, element.value, ""); changed(); };
  return element.value.toLowerCase();
}

// ---- tables of any length: a page of rows at a time, sorted and searched

const compare = (a, b) => {
  const [x, y] = [a, b].map((one) => Number.parseFloat(one.replaceAll(",", "")));
  if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
};

/** A table in a place of the page; columns are {title, name?, wide?}, rows are lists of texts. */
function table(place, key, caption, columns, rows, search = true) {
  const parent = byId(place);
  const redraw = () => table(place, key, caption, columns, rows, search);
  const query = get(`${key}.q`, "").toLowerCase();
  const [sorted, way] = get(`${key}.sort`, "").split(" ");
  let found = rows.filter((row) => !query || row.some((part) => part.toLowerCase().includes(query)));
  if (sorted) {
    const order = way === "down" ? -1 : 1;
    found = [...found].sort((a, b) => order * compare(a[Number(sorted)] ?? "", b[Number(sorted)] ?? ""));
  }
  const last = Math.max(0, Math.ceil(found.length / PAGE_ROWS) - 1);
  const page = Math.min(last, Number(get(`${key}.page`, "0")) || 0), start = page * PAGE_ROWS;
  const shown = found.slice(start, start + PAGE_ROWS);
  const focus = document.activeElement?.dataset?.focus;
  const at = document.activeElement?.selectionStart;

  const head = columns.map((column, number) => {
    const own = sorted === String(number);
    const next = own && way !== "down" ? `${number} down` : `${number} up`;
    const sort = () => { put(`${key}.sort`, next, ""); redraw(); };
    const button = el("button", { type: "button", onclick: sort, "data-focus": `${key} sort ${number}` }, column.title);
    const order = own ? (way === "down" ? "descending" : "ascending") : null;
    return el("th", { scope: "col", class: column.name || column.wide ? "name" : "", "aria-sort": order }, button);
  });
  const body = shown.map((row) => el("tr", {}, row.map((part, number) => {
    const kind = columns[number].wide ? "text" : columns[number].name ? "name" : null;
    const text = row.bold?.[number] ? el("strong", {}, part) : part;
    return number ? el("td", { class: kind }, text) : el("th", { scope: "row", class: kind }, text);
  })));
  const turn = (by, label) => el("button", {
    type: "button", "data-focus": `${key} ${label}`, disabled: by < 0 ? page === 0 : page === last,
    onclick: () => { put(`${key}.page`, String(page + by), "0"); redraw(); },
  }, label);
  const typed = (event) => { chosen.delete(`${key}.page`); put(`${key}.q`, event.target.value, ""); redraw(); };
  const id = `${place}-q`;
  const input = el("input", { type: "search", id, "data-focus": `${key} q`, oninput: typed });
  input.value = get(`${key}.q`, "");
  const count = found.length ? `${start + 1} to ${start + shown.length} of ${found.length}` : "none";
  parent.replaceChildren(
    el("div", { class: "pager" },
      search ? el("span", {}, el("label", { for: id }, "Search"), " ", input) : null,
      el("span", { role: "status" }, count),
      last ? [turn(-1, "Previous"), turn(1, "Next")] : null),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
      el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body))));
  const again = focus && [...parent.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === focus);
  if (again) {
    again.focus();
    if (again.type === "search") again.setSelectionRange(at, at);
  }
}

// ---- charts

function ticks(low, high, count) {
  const raw = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(at);
  return found.map((at) => Number(at.toPrecision(12)));
}
const short = (value) => Math.abs(value) >= 1e4 ? `${+(value / 1000).toPrecision(4)}k` : String(+value.toPrecision(4));

function mark(kind, x, y, r) {
  const path = [
    `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
    `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    `M${x},${y - r * 1.3}l${r * 1.2},${r * 2.2}h${-2.4 * r}z`,
    `M${x},${y - r * 1.4}l${r * 1.4},${r * 1.4}l${-r * 1.4},${r * 1.4}l${-r * 1.4},${-r * 1.4}z`,
  ][kind % 4];
  return svg("path", { class: "dot", d: path });
}

/** Lines with bands and dots; series are {name, line, band, dots, bars}, points are [x, y, ...]. */
function chart(place, label, xTitle, yTitle, series) {
  const parent = byId(place);
  const all = series.flatMap((one) => [...one.line ?? [], ...one.dots, ...(one.bars ?? []).flatMap(([x, a, b]) => [[x, a], [x, b]])]);
  if (!all.length) {
    parent.replaceChildren(el("p", {}, "Nothing to draw."));
    return;
  }
  const width = Math.max(280, Math.min(parent.clientWidth || 800, 1100)), height = Math.min(420, Math.max(260, width * 0.45));
  const [left, right, top, bottom] = [52, 14, 12, 44];
  const range = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], room = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - room, high + room];
  };
  const [x0, x1] = range(all.map((p) => p[0])), [y0, y1] = range(all.map((p) => p[1]));
  const x = (v) => +(left + ((v - x0) / (x1 - x0)) * (width - left - right)).toFixed(1);
  const y = (v) => +(height - bottom - ((v - y0) / (y1 - y0)) * (height - top - bottom)).toFixed(1);
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const v of ticks(y0, y1, 5)) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }),
      svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, short(v)));
  }
  for (const v of ticks(x0, x1, width < 500 ? 4 : 8)) {
    drawing.append(svg("line", { class: "grid", x1: x(v), x2: x(v), y1: top, y2: height - bottom }),
      svg("text", { x: x(v), y: height - bottom + 16, "text-anchor": "middle" }, short(v)));
  }
  drawing.append(
    svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle),
    svg("text", { x: 12, y: (height - bottom + top) / 2, transform: `rotate(-90 12 ${(height - bottom + top) / 2})`, "text-anchor": "middle" }, yTitle));
  const path = (points) => points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
  series.forEach((one, number) => {
    const group = svg("g", { class: `s${number % COLOURS}` });
    if (one.band?.length) {
      const back = [...one.band].reverse().map(([a, low]) => [a, low]);
      group.append(svg("polygon", { class: "band", points: path([...one.band.map(([a, , high]) => [a, high]), ...back]) }));
    }
    if (one.line?.length) group.append(svg("polyline", { class: "curve", points: path(one.line), "stroke-dasharray": DASHES[number % 4] }));
    for (const [a, low, high] of one.bars ?? []) group.append(svg("line", { class: "bar", x1: x(a), x2: x(a), y1: y(low), y2: y(high) }));
    for (const [a, b, told] of one.dots) {
      const dot = mark(number, x(a), y(b), one.line ? 2.2 : 4.5);
      dot.append(svg("title", {}, told));
      group.append(dot);
    }
    drawing.append(group);
  });
  const legend = series.map((one, number) => el("li", {},
    svg("svg", { width: 26, height: 12, class: `s${number % COLOURS}`, "aria-hidden": "true" },
      one.line ? svg("polyline", { class: "curve", points: "0,6 26,6", "stroke-dasharray": DASHES[number % 4] }) : null,
      mark(number, 13, 6, one.line ? 3 : 4.5)), one.name));
  parent.replaceChildren(drawing, el("ul", { class: "legend" }, legend), el("div", { id: `${place}-numbers` }));
}

/** The numbers of a chart as a table that opens on demand. */
function numbers(place, key, columns, rows) {
  const id = `${place}-table`, box = el("div", { id });
  const details = el("details", {}, el("summary", {}, "The numbers of this chart"), box);
  details.ontoggle = () => details.open && table(id, key, "The numbers of this chart", columns, rows);
  byId(`${place}-numbers`)?.replaceChildren(details);
}

// ---- theme, matrix

function drawTheme() {
  const theme = select("theme", [["auto", "as the system"], ["light", "light"], ["dark", "dark"]], drawTheme);
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function drawMatrix() {
  const options = [["all", "BS, BZ and Delta"], ["bs", "BS"], ["bz", "BZ"], ["delta", "Delta"]];
  byId("matrix").dataset.show = select("matrix.show", options, drawMatrix);
}

// ---- the table for a paper: the same texts as the files of `alignmlm eval figures`

const MARKDOWN = /[\\|*_`<>[\]~$#&]/g, NUMBERS = /^[\d\s.,[\]+-]*$/;
const BREAKS = /[\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029]/g;
const LATEX = {
  "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
};
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
const oneLine = (told) => told.replace(BREAKS, " ");
const markdown = (told) => {
  const line = oneLine(told);
  return NUMBERS.test(line) ? line : line.replace(MARKDOWN, "\\$&");
};
const latex = (told) => oneLine(told).replace(/[\\&%$#_{}~^]/g, (found) => LATEX[found]);
const quoted = (told) => /[",\n\r]/.test(told) ? `"${told.replaceAll('"', '""')}"` : told;
const csv = (told) => quoted(FORMULA.test(told) ? `'${told}` : told);

function markdownTable(found) {
  const rules = found.titles.map((_, place) => place < 3 ? "---" : "---:");
  const lines = found.lines.map((line) => line.cells.map((told, place) =>
    line.bold[place] ? `**${markdown(told)}**` : markdown(told)));
  const rows = [found.titles.map(markdown), rules, ...lines].map((line) => `| ${line.join(" | ")} |\n`);
  return `${rows.join("")}\n${found.caption}\n`;
}

function latexTable(found) {
  const tex = (told) => latex(told).replaceAll(found.missing, "--");
  const lines = found.lines.map((line) => line.cells.map((told, place) =>
    (line.bold[place] ? `\\textbf{${tex(told)}}` : place < 3 ? latex(told) : tex(told))).join(" & "));
  return [
    `% ${found.caption}`, `\\begin{tabular}{lll${"r".repeat(found.titles.length - 3)}}`, "\\toprule",
    `${found.titles.map(latex).join(" & ")} \\\\`, "\\midrule", ...lines.map((line) => `${line} \\\\`),
    "\\bottomrule", "\\end{tabular}", "",
  ].join("\n");
}

function csvTable(found) {
  const rows = [found.csvTitles.map(csv), ...found.lines.map((line) => [...line.paper.map(csv), ...line.means])];
  return rows.map((row) => `${row.join(",")}\n`).join("");
}

const FORMATS = { markdown: [markdownTable, "md"], latex: [latexTable, "tex"], csv: [csvTable, "csv"] };

function drawTable() {
  const tables = data.groups.filter((one) => one.table);
  const options = tables.map((one, place) => [String(place), one.title]);
  const group = tables[Number(select("table.group", options, drawTable)) || 0];
  if (!group) {
    byId("table").hidden = true;
    return;
  }
  const whole = group.table, titles = { bs: "BS", bz: "BZ", delta: "Delta" };
  const format = select("table.format", [["markdown", "Markdown"], ["latex", "LaTeX"], ["csv", "CSV as the paper's"]], drawTable);
  const tasks = checks("table.tasks", unique(whole.columns.map((one) => one.task)), drawTable);
  const measures = checks("table.measures", group.measures.map((one) => titles[one]), drawTable);
  const objectives = checks("table.objectives", unique(whole.lines.map((one) => one.names[0])), drawTable);
  const query = text("table.q", drawTable);
  const intervals = check("table.intervals", "1", drawTable), aligned = check("table.aligned", "1", drawTable);

  const kept = whole.columns.map((_, place) => place).filter((place) =>
    tasks.includes(whole.columns[place].task) && measures.includes(titles[whole.columns[place].measure]));
  const lines = whole.lines.filter((line) =>
    objectives.includes(line.names[0]) && line.names.some((name) => name.toLowerCase().includes(query)));
  const cell = (told) => intervals ? told : told.split(" [")[0];
  const found = {
    caption: whole.caption, missing: whole.missing,
    titles: ["objective", "source", "target", ...kept.map((place) => whole.columns[place].title), ...aligned ? whole.aligned : []],
    csvTitles: [...whole.paper, ...kept.map((place) => whole.columns[place].csv)],
    lines: lines.map((line) => ({
      paper: line.paper,
      cells: [...line.names, ...kept.map((place) => cell(line.cells[place])), ...aligned ? line.aligned : []],
      bold: [false, false, false, ...kept.map((place) => line.bold[place])],
      means: kept.map((place) => line.means[place]),
    })),
  };
  const [written, ending] = FORMATS[format];
  byId("table-text").value = written(found);
  byId("table-caption").textContent = whole.caption;
  table("table-preview", "table.rows", "The table",
    found.titles.map((title, place) => ({ title, name: place < 3 })),
    found.lines.map((line) => Object.assign([...line.cells], { bold: line.bold })), false);
  const told = byId("table-told");
  byId("table-copy").onclick = async () => {
    byId("table-text").select();
    try {
      await navigator.clipboard.writeText(byId("table-text").value);
      told.textContent = "Copied.";
    } catch {
      told.textContent = "Selected: copy it with the keyboard.";
    }
  };
  byId("table-save").onclick = () => {
    const url = URL.createObjectURL(new Blob([byId("table-text").value], { type: "text/plain" }));
    el("a", { href: url, download: `transfer.${ending}` }).click();
    told.textContent = `Saved as transfer.${ending}.`;
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
}

// ---- curves over steps

function setting(key, run) {
  const found = data.settings.find((one) => one.key === key);
  return found.values.find(([, runs]) => runs.includes(run))[0];
}

function drawCurves() {
  const metrics = unique(data.runs.flatMap((run) => Object.keys(run.curves)));
  const first = metrics.filter((name) => name.startsWith("validation")), rest = metrics.filter((name) => !first.includes(name));
  const metric = select("curves.metric", [...first, ...rest].map((name) => [name, name]), drawCurves);
  const axes = data.settings.filter((one) => one.values.length > 1 && !one.key.endsWith(".seed")).map((one) => one.key);
  const by = select("curves.by", [["label", "objective or variant"], ["run", "run"], ...axes.map((key) => [key, key])], drawCurves);
  const groups = new Map();
  data.runs.forEach((run, place) => {
    const curve = run.curves[metric];
    if (!curve) return;
    const own = by === "label" ? run.label : by === "run" ? run.name : `${by} = ${setting(by, place)}`;
    const name = by !== "run" && run.study ? `${run.study}: ${own}` : own;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push({ run: run.name, points: curve[0].map((step, at) => [step, curve[1][at]]).filter((p) => p[1] !== null) });
  });
  const rows = [];
  const series = [...groups].map(([name, runs]) => {
    const bySteps = new Map();
    for (const run of runs) for (const [step, value] of run.points) bySteps.set(step, [...bySteps.get(step) ?? [], value]);
    const steps = [...bySteps].filter(([, values]) => values.length === runs.length).sort((a, b) => a[0] - b[0]);
    const band = steps.map(([step, values]) => [step, Math.min(...values), Math.max(...values)]);
    const line = steps.map(([step, values]) => [step, values.reduce((a, b) => a + b) / values.length]);
    line.forEach(([step, mean], at) => rows.push([name, String(step), mean.toPrecision(5), String(band[at][1]), String(band[at][2]), String(runs.length)]));
    return {
      name: `${name} (${runs.length} run${runs.length > 1 ? "s" : ""})`, line, band: runs.length > 1 ? band : [],
      dots: runs.flatMap((run) => run.points.map(([step, value]) => [step, value, `${run.run}, step ${step}: ${value}`])),
    };
  });
  chart("curves-chart", `${metric} over steps, one line for each ${by}`, "step", metric, series);
  const columns = ["line", "step", "mean", "lowest", "highest", "runs"].map((title, place) => ({ title, name: !place }));
  numbers("curves-chart", "curves.numbers", columns, rows);
}

// ---- alignment against Delta

function drawAlignment() {
  const all = data.groups.flatMap((group) => group.scatter.map((one) => ({ ...one, title: `${group.title}, ${one.task}, aligned ${one.words}` })));
  const found = all[Number(select("alignment.of", all.map((one, place) => [String(place), one.title]), drawAlignment)) || 0];
  if (!found) {
    byId("alignment").hidden = true;
    return;
  }
  const points = found.points.filter((p) => p.x !== null && p.y !== null);
  const series = unique(points.map((p) => p.objective)).map((name) => {
    const own = points.filter((p) => p.objective === name);
    return {
      name, dots: own.map((p) => [p.x, p.y, `${p.objective}, ${p.languages}: aligned ${p.x} %, Delta ${p.y}`]),
      bars: own.filter((p) => p.low !== null).map((p) => [p.x, p.low, p.high]),
    };
  });
  chart("alignment-chart", `${found.title}: ${found.text}`, `aligned, ${found.words} (%)`, "Delta (points)", series);
  byId("alignment-chart").prepend(el("p", {}, found.text));
  const columns = ["objective", "languages", "aligned (%)", "Delta", "lower bound", "upper bound"];
  numbers("alignment-chart", "alignment.numbers", columns.map((title, place) => ({ title, name: place < 2 })),
    points.map((p) => [p.objective, p.languages, p.x, p.y, p.low ?? "", p.high ?? ""].map(String)));
}

// ---- words and their nearest ones

const BANDS = { unseen: "not in the corpus" };
const bandName = (band) => BANDS[band] ?? band.replace("rank_", "rank ").replace("_up", " and up").replace(/(\d)_(\d)/, "$1 to $2");

/** A slider; it is at its end unless the address says otherwise. */
function slider(key, last, changed) {
  const element = byId(key.replace(".", "-"));
  element.max = String(last);
  element.disabled = last < 1;
  const wanted = Number(get(key, String(last)));
  element.value = String(wanted >= 0 && wanted <= last ? wanted : last);
  element.oninput = () => { put(key, element.value, String(last)); changed(); };
  return Number(element.value);
}

function nearest(caption, word, pair, flat) {
  const rows = [];
  for (let at = 0; at < flat.length; at += 2) {
    const right = word.answers.includes(flat[at]);
    rows.push(el("tr", { class: right ? "right" : null },
      el("th", { scope: "row" }, String(at / 2 + 1)),
      el("td", { class: "name" }, pair.texts[flat[at]], right ? " ✓" : "", right ? el("span", { class: "hidden" }, " translation") : null),
      el("td", {}, flat[at + 1].toFixed(3))));
  }
  const head = el("tr", {}, el("th", { scope: "col" }, "rank"), el("th", { scope: "col", class: "name" }, "word"), el("th", { scope: "col" }, "score"));
  return el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, rows));
}

/** Words and translations in the plane, a line for each pair; the chosen pair is written out. */
function drawMap(pair, kept, number, at) {
  const parent = byId("words-map"), side = Math.max(280, Math.min(parent.clientWidth || 640, 640)), room = 16;
  const values = [0, 1].map((axis) => pair.words.flatMap((word) => word.points.flatMap((four) => [four[axis], four[axis + 2]])));
  const low = values.map((one) => Math.min(...one)), spans = values.map((one, axis) => Math.max(...one) - low[axis]);
  const scale = (side - 2 * room) / (Math.max(...spans) || 1), [width, height] = spans.map((span) => span * scale + 2 * room);
  const place = (h, v) => [room + (h - low[0]) * scale, height - room - (v - low[1]) * scale];
  const points = (word) => [place(word.points[at][0], word.points[at][1]), place(word.points[at][2], word.points[at][3])];
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Map of ${kept.length} words of ${pair.source} and their translations in ${pair.target}` });
  const taken = [];
  /** Write a word beside its point, unless that is known to cover another one. */
  const write = ([x, y], told, always) => {
    const long = 7 * told.length, left = x + long + 10 > width;
    const box = [left ? x - long - 8 : x, y - 8, left ? x : x + long + 8, y + 8];
    if (!always && taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) return;
    taken.push(box);
    drawing.append(svg("text", { x: left ? x - 7 : x + 7, y: y + 4, "text-anchor": left ? "end" : "start", class: always ? "chosen" : null }, told));
  };
  for (const one of [...kept.filter((other) => other !== number), number]) {
    const word = pair.words[one], [from, to] = points(word), told = `${isolated(word.word)} → ${isolated(pair.texts[word.answers[0]])} (${word.part})`;
    const group = svg("g", { class: one === number ? "pair chosen" : "pair" },
      svg("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], "stroke-dasharray": word.part === "given" ? null : "3 3" }),
      svg("g", { class: "s0" }, mark(0, ...from, 4)), svg("g", { class: "s1" }, mark(1, ...to, 4)), svg("title", {}, told));
    group.onclick = () => { put("words.word", String(one), String(kept[0])); drawWords(); };
    drawing.append(group);
  }
  const [from, to] = points(pair.words[number]);
  write(from, pair.words[number].word, true);
  write(to, pair.texts[pair.words[number].answers[0]], true);
  for (const one of kept) if (one !== number) write(points(pair.words[one])[0], pair.words[one].word, false);
  const legend = [pair.source, pair.target].map((name, which) => el("li", {},
    svg("svg", { width: 14, height: 12, class: `s${which}`, "aria-hidden": "true" }, mark(which, 7, 6, 4)), name));
  parent.replaceChildren(drawing, el("ul", { class: "legend" }, legend));
  byId("words-shown").textContent = `The plane shows ${pair.shown_percent.map((one) => `${one} %`).join(" and ")} of the variance at the newest checkpoint.`;
}

function drawWords() {
  const runs = Object.keys(data.words.runs);
  byId("words-none").hidden = runs.length > 0;
  byId("words-panel").hidden = !runs.length;
  if (!runs.length) return;
  byId("words-kept").textContent = data.words.kept > 1 ? ` One word of ${data.words.kept} is kept, so that the page stays small.` : "";
  const found = data.words.runs[select("words.run", runs.map((place) => [place, data.runs[place].name]), drawWords)];
  const names = found.pairs.map((one, place) => [String(place), `${one.source} → ${one.target}`]);
  const pair = found.pairs[Number(select("words.pair", names, drawWords))];
  const some = (key, name) => unique(pair.words.map((word) => word[key])).map((one) => [one, name(one)]);
  const part = select("words.part", [["", "all"], ...some("part", (one) => one)], drawWords);
  const band = select("words.band", [["", "all"], ...some("band", bandName)], drawWords);
  const query = text("words.q", drawWords);
  const kept = pair.words.map((_, place) => place).filter((place) => {
    const word = pair.words[place];
    return (!part || word.part === part) && (!band || word.band === band) && word.word.toLowerCase().includes(query);
  });
  const chosenWord = select("words.word", kept.map((place) => [String(place), pair.words[place].word]), drawWords);
  const at = slider("words.step", found.steps.length - 1, drawWords), step = found.steps[at], word = pair.words[Number(chosenWord)];
  const told = (one) => `step ${one.step.toLocaleString("en")}, ${one.tokens.toLocaleString("en")} tokens`;
  byId("words-told").textContent = told(step);
  byId("words-step").setAttribute("aria-valuetext", told(step));
  if (!kept.length) {
    byId("words-found").replaceChildren(el("p", {}, "No such word among those kept."));
    byId("words-map").replaceChildren();
    return;
  }
  const ranks = found.steps.map((one, place) => el("tr", { class: place === at ? "right" : null },
    el("th", { scope: "row" }, one.step.toLocaleString("en")), word.ranks[place].map((rank) => el("td", {}, rank.toLocaleString("en")))));
  const head = ["step", "by cosine", "by CSLS"].map((title) => el("th", { scope: "col" }, title));
  byId("words-found").replaceChildren(
    el("p", {}, el("strong", {}, word.word), ` (${word.part} pair; ${bandName(word.band)}, ${word.count.toLocaleString("en")} occurrences) means `,
      el("strong", {}, word.answers.map((place) => pair.texts[place]).join(", ")), ` in ${pair.target}.`),
    el("div", { class: "beside" },
      nearest("Nearest by cosine", word, pair, word.cosine[at]), nearest("Nearest by CSLS", word, pair, word.csls[at]),
      el("table", {}, el("caption", {}, "Rank of the translation"), el("thead", {}, el("tr", {}, head)), el("tbody", {}, ranks))));
  drawMap(pair, kept, Number(chosenWord), at);
}

// ---- flips: examples that one run gets right and the other one wrong

const WHICH = {
  better: ["A better than B", (a, b) => a > b], worse: ["B better than A", (a, b) => a < b],
  "only-a": ["only A right", (a, b) => a === 1 && b < 1], "only-b": ["only B right", (a, b) => a < 1 && b === 1],
  all: ["all", () => true],
};

/** The shares of a run's examples, in [0, 1], from two letters each. */
const sharesOf = (letters) => (letters.match(/../g) ?? []).map((two) => Number.parseInt(two, 36) / 1295);

function flipCounts(a, b) {
  const count = (test) => a.filter((_, place) => test(a[place], b[place])).length;
  return [
    ["A better", count((x, y) => x > y)], ["B better", count((x, y) => x < y)], ["equal", count((x, y) => x === y)],
    ["both right", count((x, y) => x === 1 && y === 1)], ["only A right", count((x, y) => x === 1 && y < 1)],
    ["only B right", count((x, y) => x < 1 && y === 1)], ["neither right", count((x, y) => x < 1 && y < 1)],
  ];
}

const verdictCell = (given, right) => el("td", { class: right ? "name ok" : "name wrong" }, given ?? "–");

function wordTable(caption, titles, rows) {
  const head = titles.map((title) => el("th", { scope: "col", class: "name" }, title));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}

const parts = (caption, lines) => el("div", { class: "example" }, el("h4", {}, caption),
  el("dl", {}, lines.map(([name, told]) => [el("dt", {}, name), el("dd", { dir: "auto" }, told)])));

/** One example: its texts beside each other, the right labels and both runs' answers. */
function example(unit, { at, ...shares }, a, b) {
  const names = (numbers) => numbers.map((number) => unit.labels[number]);
  const right = names(unit.right[at]), [ofA, ofB] = [a, b].map((run) => names(unit.given[run][at]));
  const text = unit.texts[at], shown = text && (text.derived ?? text.original), found = [];
  const cell = (given, label, share) => verdictCell(given, right.length === 1 ? share === 1 : given === label);
  const byWord = shown && right.length > 1 && shown.length === right.length;
  if (text?.derived) {
    found.push(byWord
      ? wordTable("Original", ["word", "label"], text.original.map(([word, label]) => el("tr", {}, el("th", { scope: "row", class: "name" }, word), el("td", { class: "name" }, label))))
      : parts("Original", text.original));
  }
  const title = text?.derived ? "Derived, as the runs read it" : "As the runs read it";
  if (shown && !byWord) found.push(parts(title, shown));
  found.push(wordTable(byWord ? title : "Answers", [byWord ? "word" : "part", "right", "run A", "run B"], right.map((label, place) =>
    el("tr", {}, el("th", { scope: "row", class: "name" }, byWord ? shown[place][0] : String(place + 1)), el("td", { class: "name" }, label),
      cell(ofA[place], label, shares.a), cell(ofB[place], label, shares.b)))));
  return found;
}

function drawFlips() {
  byId("flips-none").hidden = data.flips.length > 0;
  byId("flips-panel").hidden = !data.flips.length;
  if (!data.flips.length) return;
  const unit = data.flips[Number(select("flips.unit", data.flips.map((one, place) => [String(place), one.title]), drawFlips))];
  const runs = Object.keys(unit.shares).map((place) => [place, data.runs[place].name]);
  const label = ([place]) => data.runs[place].label;
  const others = [...runs].sort((x, y) => (label(x) === label(runs[0])) - (label(y) === label(runs[0])));
  const a = select("flips.a", others, drawFlips), b = select("flips.b", runs, drawFlips);
  const [ofA, ofB] = [a, b].map((run) => sharesOf(unit.shares[run]));
  const counts = flipCounts(ofA, ofB);
  const total = unit.examples > ofA.length ? `${ofA.length} of ${unit.examples}` : String(unit.examples);
  byId("flips-counts").replaceChildren(...[["examples", total], ...counts].map(([name, count]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(count)))));
  const which = select("flips.which", Object.entries(WHICH).map(([key, [name]]) => [key, name]), drawFlips);
  const percent = (value) => `${(100 * value).toFixed(0)} %`;
  const found = unit.shown.map((place, at) => ({ at, a: ofA[place], b: ofB[place] })).filter((one) => WHICH[which][1](one.a, one.b))
    .sort((one, other) => Math.abs(other.a - other.b) - Math.abs(one.a - one.b));
  const options = found.map((one) => [unit.ids[one.at], `${unit.ids[one.at]}: A ${percent(one.a)}, B ${percent(one.b)}`]);
  const id = select("flips.example", options, drawFlips), at = options.findIndex(([one]) => one === id);
  const step = (by) => () => { put("flips.example", options[at + by][0], options[0][0]); drawFlips(); };
  byId("flips-before").disabled = at <= 0;
  byId("flips-after").disabled = at < 0 || at >= options.length - 1;
  byId("flips-before").onclick = step(-1);
  byId("flips-after").onclick = step(1);
  const box = byId("flips-found");
  if (at < 0) box.replaceChildren(el("p", {}, "No such example among those whose answers are on the page."));
  else box.replaceChildren(unit.hole ? el("p", { class: "note" }, unit.hole) : "", el("div", { class: "beside" }, example(unit, found[at], a, b)));
}

// ---- settings, runs

function drawSettings() {
  const only = check("settings.different", "1", drawSettings), count = data.runs.length;
  const rows = data.settings.filter((one) => !only || one.values.length > 1).flatMap((one) => one.values.map(([value, runs]) =>
    [one.key, value, runs.length === count ? `all ${count}` : runs.map((place) => data.runs[place].name).join(", ")]));
  table("settings-table", "settings", only ? "Settings in which runs differ" : "All settings",
    [{ title: "setting", name: true }, { title: "value", wide: true }, { title: "runs", wide: true }], rows);
}

function drawRuns() {
  const keys = unique(data.provenance.flatMap(Object.keys));
  table("runs-table", "runs", "Runs: what they are and what they cost", keys.map((title) => ({ title, name: title === "run" })),
    data.provenance.map((run) => keys.map((key) => run[key] ?? "")));
}

// ---- together

function drawAll() {
  for (const draw of [drawTheme, drawMatrix, drawTable, drawCurves, drawAlignment, drawWords, drawFlips, drawSettings, drawRuns]) draw();
}

/** Show what the address says; a link within the page has no choices, and keeps those made. */
function followAddress() {
  const [name, query] = location.hash.slice(1).split("?");
  section = name;
  if (query !== undefined || history.state) chosen = new URLSearchParams(query);
  writeAddress();
  drawAll();
  if (name) byId(name)?.scrollIntoView();
}

/** Show a newer page when the server has one, but not while somebody types or chooses. */
async function follow() {
  const busy = document.activeElement?.matches("input, select, textarea");
  try {
    const answer = await fetch("stamp", { cache: "no-store" });
    if (answer.ok && !busy && await answer.text() !== document.body.dataset.live) location.reload();
  } catch {
    document.title = document.title.replace(/^(?!\(ended\))/, "(ended) ");
  }
}
if (document.body.dataset.live) setInterval(follow, 2000);

let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { drawCurves(); drawAlignment(); drawWords(); }, 150);
});
addEventListener("hashchange", followAddress);
followAddress();
document.documentElement.dataset.ready = "";
})();
