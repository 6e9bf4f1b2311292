// Page of a sweep: tables and plots of the JSON that the page holds. All text from tasks goes in as text, never as HTML.
"use strict";

const IS_LIVE = document.getElementById("data").dataset.live === "yes"; // served by Flower while the sweep runs
const ROWS = 100; // of a page of the table
const MOST_BARS = 5000; // of the timeline
// Okabe and Ito's colours, which people who are colour-blind can tell apart.
const COLOURS = {
  done: "#0072b2", running: "#56b4e9", copied: "#56b4e9", sent: "#56b4e9", pruned: "#e69f00", failed: "#d55e00", timeout: "#d55e00",
  lost: "#cc79a7", stopped: "#8c8c8c", cancelled: "#8c8c8c", waiting: "#8c8c8c",
};
const FONT = { family: "system-ui, sans-serif", size: 13, color: "#1a1a1a" };
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const MOST_TICKS = 8; // values of a metaparameter that each get a tick

let data, names, byTask, scored, ranked; // what is shown; see take()

function take(content) {
  data = content;
  names = data.parameters;
  byTask = new Map([...data.under_way, ...data.tasks].map((task) => [task.task, task]));
  scored = data.metric === null ? [] : data.tasks.filter(isScored);
  ranked = [...scored].sort((a, b) => (score(a) - score(b)) * (data.goal === "minimize" ? 1 : -1));
}

function isScored(task) {
  return task.state === "done" && typeof task.metrics[data.metric] === "number";
}

function score(task) {
  return task.metrics[data.metric];
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Plotly reads some tags in its texts.
function label(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function shown(value) {
  if (value === undefined || value === null) {
    return value === null ? "null" : "";
  }
  if (typeof value === "number") {
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function described(task) {
  return names.filter((name) => name in task.parameters).map((name) => `${name}=${shown(task.parameters[name])}`).join(" ");
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) {
    return "";
  }
  for (const [size, unit, below, part] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (seconds >= size) {
      return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / below)} ${part}`;
    }
  }
  return `${Number(seconds.toPrecision(3))} s`;
}

function moment(seconds) {
  return new Date(seconds * 1000);
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function section(id, title, ...children) {
  const made = element("section", { "aria-labelledby": id }, element("h2", { id }, title), ...children);
  document.getElementById("main").append(made);
  document.getElementById("sections").append(element("a", { href: `#${id}` }, title));
  return made;
}

function faint(text) {
  return element("p", { class: "faint" }, text);
}

// plot: a figure in `parent`, which `description` puts into words for those who do not see it.
function plot(parent, description, traces, layout) {
  const made = element("div", { class: "plot", role: "img", "aria-label": description });
  parent.append(made);
  Plotly.newPlot(made, traces, { font: FONT, margin: { l: 60, r: 16, t: 30, b: 44 }, height: 320, ...layout }, CONFIG);
}

// An axis for the values of a metaparameter: numbers, logarithmic if they span several powers of ten, or categories.
function axisOf(values) {
  const known = values.filter((value) => value !== undefined);
  if (known.length > 0 && known.every((value) => typeof value === "number")) {
    const low = Math.min(...known), high = Math.max(...known);
    return { kind: low > 0 && high / low >= 100 ? "log" : "linear", values };
  }
  return { kind: "category", values: values.map((value) => (value === undefined ? "(none)" : label(shown(value)))) };
}

// Ticks at the values themselves, if they are few.
function ticksOf(axis) {
  const own = [...new Set(axis.values)];
  if (axis.kind === "category" || own.length > MOST_TICKS) {
    return axis.kind === "log" ? { dtick: 1, tickformat: "~g" } : {};
  }
  return { tickvals: own, ticktext: own.map(shown) };
}

function spread(values) {
  return new Set(values.map((value) => JSON.stringify(value))).size;
}

// Table with rows that can be sorted and chosen. A row shows the attempts of its task.

class Table {
  constructor() {
    this.by = null;
    this.open = new Set(); // tasks whose attempts are shown
    this.downwards = false;
    this.first = 0;
    this.filter = element("input", { type: "search", "aria-label": "Rows with these words", placeholder: "rows with these words" });
    this.state = element("select", { "aria-label": "State" }, element("option", { value: "" }, "all states"));
    this.said = element("span", { role: "status", class: "faint" });
    this.before = element("button", { type: "button" }, "previous");
    this.after = element("button", { type: "button" }, "next");
    this.table = element("table");
    this.root = [
      element("div", { class: "controls" }, this.filter, this.state, this.before, this.after, this.said),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of tasks" }, this.table),
    ];
    this.filter.addEventListener("input", () => this.show(0));
    this.state.addEventListener("change", () => this.show(0));
    this.before.addEventListener("click", () => this.show(this.first - ROWS));
    this.after.addEventListener("click", () => this.show(this.first + ROWS));
  }

  // take: shows other tasks, with the same choice of rows as before.
  take(columns, tasks) {
    this.columns = columns;
    this.tasks = tasks;
    this.texts = tasks.map((task) => columns.map((column) => shown(column.value(task))).join(" ").toLowerCase());
    const known = new Set([...this.state.options].map((option) => option.value));
    for (const state of new Set(tasks.map((task) => task.state))) {
      if (!known.has(state)) {
        this.state.append(element("option", { value: state }, state));
      }
    }
    this.show(this.first);
  }

  chosen() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = this.tasks.filter(
      (task, index) =>
        (!this.state.value || task.state === this.state.value) && words.every((word) => this.texts[index].includes(word)),
    );
    if (this.by !== null) {
      const value = this.columns[this.by].value;
      rows.sort((a, b) => compare(value(a), value(b), this.downwards));
    }
    return rows;
  }

  show(first) {
    const rows = this.chosen();
    this.first = Math.max(0, first);
    const page = rows.slice(this.first, this.first + ROWS);
    this.before.disabled = this.first === 0;
    this.after.disabled = this.first + ROWS >= rows.length;
    const range = rows.length > ROWS ? `${this.first + 1}–${this.first + page.length} of ` : "";
    this.said.textContent = `${range}${count(rows.length, "task")}`;
    this.table.replaceChildren(this.head(), element("tbody", {}, ...page.flatMap((task) => this.rows(task))));
  }

  head() {
    const cells = this.columns.map((column, index) => {
      const direction = this.downwards ? "descending" : "ascending";
      const button = element("button", { type: "button" }, column.title + (index === this.by ? (this.downwards ? " ▼" : " ▲") : ""));
      button.addEventListener("click", () => {
        this.downwards = index === this.by && !this.downwards;
        this.by = index;
        this.show(0);
        this.table.querySelectorAll("th button")[index].focus();
      });
      return element("th", { scope: "col", "aria-sort": index === this.by ? direction : "none" }, button);
    });
    return element("thead", {}, element("tr", {}, ...cells));
  }

  rows(task) {
    const cells = this.columns.map((column) => {
      const text = column.show ? column.show(column.value(task)) : shown(column.value(task));
      return element("td", column.long ? { class: "long" } : {}, text);
    });
    const more = element("button", { type: "button", "aria-expanded": String(this.open.has(task.task)) }, cells[0].textContent);
    more.setAttribute("aria-label", `Attempts of task ${cells[0].textContent}`);
    more.addEventListener("click", () => {
      if (!this.open.delete(task.task)) {
        this.open.add(task.task);
      }
      this.show(this.first);
      this.table.querySelector(`button[aria-label="Attempts of task ${cells[0].textContent}"]`).focus();
    });
    cells[0].replaceChildren(more);
    const rows = [element("tr", {}, ...cells)];
    if (this.open.has(task.task)) {
      rows.push(element("tr", { class: "detail" }, element("td", { colspan: String(this.columns.length) }, ...detailsOf(task))));
    }
    return rows;
  }
}

// detailsOf: what is known of one task.
function detailsOf(task) {
  const lines = data.attempts.filter((attempt) => attempt.task === task.task).map((attempt) => {
    const when = attempt.started === null ? "never started" : `started ${timeOf(attempt.started)}`;
    const took = attempt.seconds === null ? "" : `, ${duration(attempt.seconds)}`;
    const code = attempt.exit_code === null ? "" : `, exit code ${attempt.exit_code}`;
    const text = `attempt ${attempt.attempt} on ${attempt.host}: ${attempt.state}, ${when}${took}${code}${attempt.reason ? `: ${attempt.reason}` : ""}`;
    return element("li", {}, text, ...(IS_LIVE ? [" ", linkToOutput(attempt, "its output")] : []));
  });
  return [element("ul", {}, ...lines), element("p", {}, "to repeat it by hand: ", element("code", {}, task.program)), element("p", {}, `its files: tasks/${task.task}/`)];
}

function timeOf(seconds) {
  return `${moment(seconds).toISOString().replace("T", " ").slice(0, 19)} UTC`;
}

// compare: numbers before text, what is missing last in both directions.
function compare(a, b, downwards) {
  const rank = (value) => (value === undefined || value === null ? 2 : typeof value === "number" ? 0 : 1);
  if (rank(a) === 2 || rank(b) === 2 || rank(a) !== rank(b)) {
    return rank(a) - rank(b);
  }
  const order = typeof a === "number" ? a - b : shown(a) < shown(b) ? -1 : shown(a) > shown(b) ? 1 : 0;
  return downwards ? -order : order;
}

function columnsOf(metrics) {
  return [
    { title: "number", value: (task) => task.number },
    ...metrics.map((name) => ({ title: name, value: (task) => task.metrics[name] })),
    ...names.map((name) => ({ title: name, value: (task) => task.parameters[name] })),
    { title: "state", value: (task) => task.state },
    { title: "host", value: (task) => task.host },
    { title: "time", value: (task) => task.seconds, show: duration },
    { title: "attempts", value: (task) => task.attempts },
    { title: "task", value: (task) => task.task },
    { title: "reason", value: (task) => task.reason, long: true },
  ];
}

// Sections

function showHead() {
  document.title = `${data.project}: results`;
  document.getElementById("title").textContent = data.project;
  const counts = new Map();
  for (const task of data.tasks) {
    counts.set(task.state, (counts.get(task.state) || 0) + 1);
  }
  const parts = ["done", "pruned", "failed", "cancelled"].filter((state) => counts.has(state)).map((state) => `${counts.get(state)} ${state}`);
  const best = ranked.length > 0 ? `; best ${data.metric}: ${shown(score(ranked[0]))}` : "";
  document.getElementById("summary").textContent =
    `${data.tasks.length} of ${data.combinations} combinations of ${names.join(", ")} have ended: ${parts.join(", ") || "none"}${best}; as of ${timeOf(data.written)}`;
  const warning = document.getElementById("warning");
  warning.textContent = data.warning;
  warning.hidden = !data.warning;
}

function showBest() {
  if (ranked.length === 0) {
    return;
  }
  const head = [data.metric, ...names, "task"].map((name) => element("th", { scope: "col" }, name));
  const rows = ranked.slice(0, 10).map((task) =>
    element("tr", {}, ...[shown(score(task)), ...names.map((name) => shown(task.parameters[name])), task.task].map((text) => element("td", {}, text))),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Best combinations" }, table);
  section("best", "Best combinations", faint(`By ${data.metric}: the ${data.goal === "minimize" ? "lowest" : "highest"} first.`), scroll);
}

function showImportance() {
  if (data.metric === null) {
    return;
  }
  const found = Object.entries(data.importance).sort((a, b) => a[1] - b[1]);
  const made = section("importance", "Importance of metaparameters");
  if (found.length === 0) {
    made.append(faint(`Not shown: it ${data.importance_reason}.`));
    return;
  }
  made.append(faint(`How much each one decides whether a combination is among the best tenth (PED-ANOVA of Optuna).`));
  const words = [...found].reverse().map(([name, share]) => `${name} ${Math.round(share * 100)} %`).join(", ");
  plot(made, `Importance: ${words}`, [{ type: "bar", orientation: "h", x: found.map((pair) => pair[1]), y: found.map((pair) => label(pair[0])), marker: { color: COLOURS.done } }], {
    height: 90 + 28 * found.length, margin: { l: 130, r: 16, t: 30, b: 40 }, xaxis: { title: { text: "share" }, rangemode: "tozero" }, yaxis: { type: "category", automargin: true },
  });
}

function showEffects() {
  const varied = names.filter((name) => spread(scored.map((task) => task.parameters[name])) > 1);
  if (varied.length === 0) {
    return;
  }
  const made = section("effects", `${data.metric} by metaparameter`);
  const grid = element("div", { class: "grid" });
  made.append(grid);
  for (const name of varied) {
    const axis = axisOf(scored.map((task) => task.parameters[name]));
    const y = scored.map(score), text = scored.map((task) => label(described(task)));
    const hover = { text, hovertemplate: "%{y}<br>%{text}<extra></extra>" };
    const trace = axis.kind === "category"
      ? { type: "box", x: axis.values, y, boxpoints: "all", jitter: 0.5, pointpos: 0, fillcolor: "rgba(0,0,0,0)", line: { color: "#8c8c8c", width: 1 }, marker: { color: COLOURS.done, size: 5, opacity: 0.7 }, ...hover }
      : { type: "scatter", mode: "markers", x: axis.values, y, marker: { color: COLOURS.done, size: 6, opacity: 0.7 }, ...hover };
    plot(grid, `${data.metric} of ${scored.length} tasks against ${name}`, [trace], {
      height: 280, showlegend: false, xaxis: { title: { text: label(name) }, type: axis.kind, automargin: true, ...ticksOf(axis) }, yaxis: { title: { text: label(data.metric) }, automargin: true },
    });
  }
}

function showParallel() {
  const varied = names.filter((name) => spread(scored.map((task) => task.parameters[name])) > 1);
  if (varied.length < 2) {
    return;
  }
  const made = section("parallel", "Parallel coordinates", faint("A line for each task that is done. Drag along an axis to choose lines; drag its name to move it."));
  const dimensions = varied.map((name) => dimension(name, axisOf(scored.map((task) => task.parameters[name]))));
  dimensions.push({ label: label(data.metric), values: scored.map(score) });
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" });
  const inner = element("div", { style: `min-width: ${110 * dimensions.length}px` });
  scroll.append(inner);
  made.append(scroll);
  plot(inner, `Parallel coordinates of ${varied.join(", ")} and ${data.metric}`, [{
    type: "parcoords", dimensions, labelfont: FONT, tickfont: { ...FONT, size: 11 }, rangefont: { ...FONT, size: 11 },
    line: { color: scored.map(score), colorscale: "Cividis", reversescale: data.goal === "minimize", showscale: true, colorbar: { title: { text: label(data.metric) } } },
  }], { height: 400, margin: { l: 70, r: 40, t: 48, b: 24 } });
}

function dimension(name, axis) {
  if (axis.kind === "linear") {
    return { label: label(name), values: axis.values };
  }
  if (axis.kind === "log") {
    const values = axis.values.map(Math.log10);
    const tickvals = [];
    for (let power = Math.ceil(Math.min(...values)); power <= Math.max(...values); power++) {
      tickvals.push(power);
    }
    return { label: label(name), values, tickvals, ticktext: tickvals.map((power) => shown(10 ** power)) };
  }
  const texts = [...new Set(axis.values)].sort();
  const numbers = new Map(texts.map((text, index) => [text, index]));
  return { label: label(name), values: axis.values.map((text) => numbers.get(text)), tickvals: texts.map((_, index) => index), ticktext: texts };
}

function showCurves() {
  const curves = Object.entries(data.curves);
  if (curves.length === 0) {
    return;
  }
  const made = section("curves", "Learning curves", faint(`${data.metric} in the order in which it was printed, of ${count(curves.length, "task")}; the best one is thick.`));
  const traces = curves.map(([id, values], index) => {
    const task = byTask.get(id);
    return {
      type: "scatter", mode: "lines", x: values.map((_, step) => step + 1), y: values, showlegend: false,
      line: index === 0 ? { color: "#d55e00", width: 3 } : { color: COLOURS.done, width: 1 }, opacity: index === 0 ? 1 : 0.45,
      hovertemplate: `%{y}<br>${label(described(task))}<extra></extra>`,
    };
  });
  plot(made, `Learning curves of ${count(curves.length, "task")}`, traces.reverse(), { height: 380, xaxis: { title: { text: "report" } }, yaxis: { title: { text: label(data.metric) }, automargin: true } });
}

// showTimeline: each host has as many rows as it ran attempts at a time.
function showTimeline() {
  const begun = data.attempts.filter((attempt) => attempt.started !== null).sort((a, b) => a.started - b.started);
  if (begun.length === 0) {
    return;
  }
  const attempts = begun.slice(-MOST_BARS);
  const ends = new Map();
  const rows = [];
  for (const attempt of attempts) {
    const until = attempt.started + (attempt.seconds ?? Math.max(0, data.written - attempt.started) * ["running", "copied"].includes(attempt.state));
    const lanes = ends.get(attempt.host) || [];
    ends.set(attempt.host, lanes);
    let lane = lanes.findIndex((end) => end <= attempt.started + 0.05);
    lane = lane < 0 ? lanes.length : lane;
    lanes[lane] = until;
    rows.push({ attempt, until, row: `${attempt.host} ${lane + 1}` });
  }
  const order = [...ends.entries()].sort().flatMap(([host, lanes]) => lanes.map((_, lane) => `${host} ${lane + 1}`));
  const traces = [...new Set(attempts.map((attempt) => attempt.state))].map((state) => {
    const own = rows.filter(({ attempt }) => attempt.state === state);
    return {
      type: "bar", orientation: "h", name: state, y: own.map(({ row }) => label(row)), base: own.map(({ attempt }) => moment(attempt.started).toISOString()),
      x: own.map(({ attempt, until }) => Math.max(until - attempt.started, 0.01) * 1000), marker: { color: COLOURS[state] || "#8c8c8c", line: { color: "#fff", width: 0.5 } },
      text: own.map(({ attempt, until }) => label(`${described(byTask.get(attempt.task) || { parameters: {} }) || attempt.task}, attempt ${attempt.attempt}, ${duration(until - attempt.started)} ${attempt.reason}`)),
      textposition: "none", hovertemplate: "%{text}<extra>%{y}</extra>",
    };
  });
  const busy = rows.reduce((sum, { attempt, until }) => sum + until - attempt.started, 0);
  const last = Math.max(...rows.map(({ until }) => until)), span = last - attempts[0].started;
  const share = span > 0 ? `; the rows are busy ${Math.round((100 * busy) / (span * order.length))} % of the time` : "";
  const left = begun.length > attempts.length ? ` The last ${attempts.length} of ${begun.length} attempts.` : "";
  const lost = attempts.filter((attempt) => attempt.state === "lost").length;
  const made = section("timeline", "Timeline", faint(`Who ran what, and when: ${count(attempts.length, "attempt")} on ${count(ends.size, "host")} in ${duration(span)}${share}; ${lost} lost.${left}`));
  plot(made, `Timeline of ${count(attempts.length, "attempt")} on ${count(ends.size, "host")}`, traces, {
    barmode: "overlay", height: Math.min(1200, 120 + 22 * order.length), xaxis: { type: "date" },
    yaxis: { type: "category", categoryorder: "array", categoryarray: order.map(label).reverse(), automargin: true }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { l: 60, r: 16, t: 40, b: 40 },
  });
}

function showFailures() {
  const groups = new Map();
  for (const task of data.tasks.filter((each) => each.state === "failed")) {
    groups.set(task.reason, [...(groups.get(task.reason) || []), task]);
  }
  if (groups.size === 0) {
    return;
  }
  const rows = [...groups.entries()].sort((a, b) => b[1].length - a[1].length).map(([reason, tasks]) => {
    const hosts = [...new Set(tasks.map((task) => task.host))].sort().join(", ");
    const example = tasks[0];
    return element("tr", {}, ...[String(tasks.length), hosts].map((text) => element("td", {}, text)), element("td", { class: "long" }, reason), element("td", { class: "long" }, `${described(example)} (tasks/${example.task})`));
  });
  const head = ["tasks", "hosts", "reason", "one of them"].map((name) => element("th", { scope: "col" }, name));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  section("failures", "Failures", element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Failures" }, table));
}

const table = new Table();

function showTasks() {
  section("tasks", "All tasks", ...table.root);
  table.take(columnsOf(data.metrics), data.tasks);
}

function showAll() {
  const focused = document.activeElement, height = window.scrollY;
  for (const id of ["main", "sections"]) {
    document.getElementById(id).replaceChildren();
  }
  if (IS_LIVE) {
    showNow();
  }
  showHead();
  showBest();
  showFailures();
  showEffects();
  showImportance();
  showParallel();
  showCurves();
  showTimeline();
  showTasks();
  focused?.focus({ preventScroll: true });
  window.scrollTo(0, height);
}

// Live: the status every few seconds, and the rest when it has changed.

const STATUS_SECONDS = 3;
const RENEWAL_SECONDS = 15; // at least, between two times that plots are drawn anew
const STALE_SECONDS = 60;
const EVENTS = 10; // the latest ones
let status = null;
let version = null; // of the data that is shown
let renewed = 0;
let trouble = "";
const now = element("div", { role: "status" });
const renewal = element("input", { type: "checkbox", id: "renewal", checked: "" });

function showNow() {
  section("now", "Now", element("p", {}, renewal, " ", element("label", { for: "renewal" }, "draw plots anew as tasks end")), now);
}

function tableOf(name, head, rows) {
  const titles = element("tr", {}, ...head.map((title) => element("th", { scope: "col" }, title)));
  const body = rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, text))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, element("table", {}, element("thead", {}, titles), element("tbody", {}, ...body)));
}

// expectation: how long the rest takes, as the master's estimate has it.
function expectation(estimate) {
  if (!estimate) {
    return "how long it takes is not known before a task is done";
  }
  const said = (seconds) => duration(Math.round(seconds));
  const [least, most] = [said(estimate.least), said(estimate.most)];
  const range = least === most ? "" : ` (${least} to ${most})`;
  const more = estimate.like ? `; 2 more hosts like ${estimate.like}: ${said(estimate.saved)} less` : "";
  const rate = status.rate === null ? "" : `${Number(status.rate.toPrecision(2))} a minute, `;
  return `${rate}about ${said(estimate.seconds)} left${range}${more}`;
}

// useOf: the load of a host, and how busy each of its GPUs is, with its memory in use.
function useOf(use) {
  const gpus = use.gpus.map(({ busy, used, memory }) => `${busy === null ? "" : `${busy} % `}${memory ? `${Math.round(used / 1024)}/${Math.round(memory / 1024)} GiB` : ""}`);
  return [use.cpus ? `${use.load.toFixed(1)}/${Math.round(use.cpus)}` : "", gpus.join(", ")];
}

function drawNow() {
  const parts = [];
  if (trouble) {
    parts.push(element("p", { class: "warning" }, trouble));
  }
  if (status !== null) {
    const ended = status.done + status.failed + status.cancelled + status.pruned;
    const left = status.finished ? "finished" : status.paused || expectation(status.estimate);
    const waiting = status.total - ended - status.running;
    parts.push(
      element("progress", { value: String(ended), max: String(status.total || 1), "aria-label": "Tasks that have ended" }),
      element("p", {}, `${ended} of ${status.total} tasks: ${status.done} done, ${status.running} running, ${waiting} waiting, ${status.failed} failed${status.pruned ? `, ${status.pruned} pruned` : ""}; ${left}`),
      ...status.notices.map((notice) => element("p", { class: "warning" }, notice)),
    );
    const hosts = Object.entries(status.hosts).sort().map(([name, host]) => [name, String(host.slots), String(host.running), ...useOf(host.use), host.alive ? `${Math.round(host.seconds_since_beat)} s ago${host.drained ? ", drained" : ""}` : "out of reach"]);
    parts.push(tableOf("Hosts", ["host", "slots", "running", "load", "GPUs", "last heard of"], hosts));
    if (status.events.length > 0) {
      const lines = status.events.slice(-EVENTS).reverse().map((event) => element("li", {}, `${timeOf(event.time)}: ${event.text}`));
      parts.push(element("h3", {}, "What has happened"), element("ul", {}, ...lines));
    }
  }
  if (data.under_way.length > 0) {
    const rows = data.under_way.map((task) => [
      linkToOutput({ task: task.task, attempt: task.attempts }, String(task.number), `Output of task ${task.number}`),
      described(task), task.host, task.started === null ? "sent" : `since ${timeOf(task.started)}`,
    ]);
    parts.push(tableOf("Tasks under way", ["number", "under way", "host", ""], rows));
  }
  const focused = now.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  now.replaceChildren(...parts);
  [...now.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

// Output of the attempt that the address names behind #output-: its last lines, as its host has them, while somebody looks.

function linkToOutput(attempt, text, label) {
  return element("a", { href: `#output-${attempt.task}.${attempt.attempt}`, ...(label ? { "aria-label": label } : {}) }, text);
}

class Output {
  constructor() {
    this.looks = 0; // the number of the attempt that is looked at
    this.title = element("h2");
    this.problem = element("p", { class: "warning" });
    this.texts = ["stdout", "stderr"].map((name) => element("pre", { tabindex: "0", role: "region", "aria-label": `End of ${name}`, hidden: "" }));
    this.root = element("section", { "aria-label": "Output", hidden: "" }, this.title, this.problem, ...this.texts, element("a", { href: "#now" }, "close"));
  }

  // look: shows the attempt that the address names, until that names another one or the attempt has ended.
  async look() {
    const own = ++this.looks, name = /^#output-(.*)$/.exec(location.hash)?.[1];
    this.root.hidden = name === undefined;
    this.show(`Attempt ${name}`, { problem: "", stdout: "", stderr: "" });
    if (!this.root.hidden) {
      this.root.scrollIntoView({ block: "nearest" });
    }
    while (own === this.looks && !this.root.hidden) {
      const attempt = data.attempts.find((each) => `${each.task}.${each.attempt}` === name);
      const said = document.hidden ? null : await this.ask(name, attempt);
      if (own === this.looks && said !== null) {
        const task = attempt && byTask.get(attempt.task);
        this.show(task ? `Task ${task.number}, attempt ${attempt.attempt} on ${attempt.host}, ${attempt.state}: ${described(task)}` : `Attempt ${name}`, said);
        if (attempt && !["sent", "running", "copied"].includes(attempt.state)) {
          return;
        }
      }
      await new Promise((done) => setTimeout(done, STATUS_SECONDS * 1000));
    }
  }

  async ask(name, attempt) {
    if (attempt === undefined) {
      return { problem: "The master has published no such attempt." };
    }
    try {
      return (await ask(`/sweep/output?${new URLSearchParams({ attempt: name, host: attempt.host })}`, null)).content;
    } catch (error) {
      return { problem: `No answer (${error.message}).` };
    }
  }

  // show: what is the same stays as it is; what has grown is shown to its end, unless one has scrolled up.
  show(title, said) {
    this.title.textContent = title;
    this.problem.textContent = said.problem ?? (said.stdout || said.stderr ? "" : "It has printed nothing yet.");
    this.problem.hidden = !this.problem.textContent;
    for (const [index, text] of [said.stdout, said.stderr].entries()) {
      const made = this.texts[index];
      if (text !== undefined && text !== made.textContent) {
        const isAtEnd = made.hidden || made.scrollTop + made.clientHeight >= made.scrollHeight - 5;
        made.textContent = text;
        made.hidden = !text;
        made.scrollTop = isAtEnd ? made.scrollHeight : made.scrollTop;
      }
    }
  }
}

// ask: the JSON at a path, and its version; null if that is the version `known`.
async function ask(path, known) {
  const answer = await fetch(new URL(path, location.origin), { cache: "no-cache" });
  if (!answer.ok) {
    throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  }
  const current = answer.headers.get("ETag");
  return current !== null && current === known ? null : { content: await answer.json(), version: current };
}

async function renew() {
  try {
    status = (await ask("/sweep/status.json", null)).content;
    const age = Date.now() / 1000 - status.updated;
    trouble = age > STALE_SECONDS ? `The master has published nothing for ${duration(Math.round(age))}.` : "";
    if (Date.now() - renewed >= RENEWAL_SECONDS * 1000 && renewal.checked) {
      const found = await ask("/sweep/sweep.json", version);
      renewed = Date.now();
      if (found !== null) {
        version = found.version;
        take({ ...data, ...found.content });
        showAll();
      }
    }
  } catch (error) {
    trouble = `No answer (${error.message}): what is shown may be old.`;
  }
  drawNow();
  setTimeout(renew, STATUS_SECONDS * 1000);
}

take(JSON.parse(document.getElementById("data").textContent));
showAll();
if (IS_LIVE) {
  renew();
  const output = new Output();
  document.getElementById("main").before(output.root);
  output.look();
  addEventListener("hashchange", () => output.look());
}
