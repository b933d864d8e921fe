// The state machine, and what an execution did in it.

const SIGNS = { run: "✓", caught: "!", failed: "✕", stopped: "◼", untold: "?", idle: "" };
const MEANINGS = {
  run: "run",
  caught: "caught",
  failed: "failed",
  stopped: "stopped before its end",
  untold: "not reported",
  idle: "not run",
};

const nodes = new Map();
const edges = [];

function drawGraph() {
  const margin = 10;
  const layout = layOut(DATA.machine);
  const [width, height] = [layout.width + 2 * margin, layout.height + 2 * margin];
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "group",
    "aria-label": "States; arrow keys move between them, Enter shows a state's visits",
  });
  const marker = (id) =>
    svg(
      "marker",
      { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      svg("path", { d: "M0 0 8 4 0 8z" }),
    );
  const hatch = svg(
    "pattern",
    { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("path", { d: "M0 0V6" }),
  );
  picture.append(svg("defs", {}, marker("arrow"), marker("arrow-taken"), marker("arrow-caught"), hatch));
  drawMachine(picture, layout, margin, margin);
  byId("graph").append(picture);
  nodes.values().next().value.group.setAttribute("tabindex", "0");
}

function drawMachine(parent, layout, left, top) {
  const lines = svg("g", { class: "edges" });
  parent.append(lines);
  for (const { edge, label, points, x, y } of layout.edges) {
    const line = svg("path", {
      d: curve(points.map((point) => [left + point.x, top + point.y])),
      class: edge.isCatch ? "edge catch" : "edge",
    });
    const text = label ? svg("text", { x: left + x, y: top + y, class: "edge-label" }, label) : null;
    lines.append(line);
    if (text) lines.append(text);
    edges.push({ edge, line, text });
  }
  for (const { state, inside, x, y, width, height } of layout.nodes) {
    const [x0, y0] = [left + x - width / 2, top + y - height / 2];
    const group = svg("g", {
      class: `node ${state.kind}`,
      tabindex: "-1",
      role: "button",
      "aria-pressed": "false",
      "data-state": state.name,
    });
    const badge = svg("text", { class: "badge", x: x0 + width + (inside ? -12 : 7), y: inside ? y0 + 19 : y0 + 1 });
    group.append(outline(state.kind, x0, y0, width, height), svg("title", {}, state.comment || state.name));
    const label = inside
      ? svg(
          "text",
          { class: "box-name", x: x0 + BOX.side, y: y0 + 19 },
          state.name,
          svg("tspan", { class: "box-kind", dx: 6 }, state.kind === "map" ? "Map" : "Parallel"),
        )
      : svg("text", { class: "name", x: left + x, y: top + y }, state.name);
    group.append(label, badge);
    group.addEventListener("click", (event) => {
      event.stopPropagation();
      moveFocus(state.name);
      filterByState(state.name);
    });
    parent.append(group);
    nodes.set(state.name, { state, group, badge, inside: Boolean(inside), x: left + x, y: inside ? y0 + 15 : top + y });
    if (inside) drawMachine(parent, inside, x0 + (width - inside.width) / 2, y0 + BOX.top);
  }
}

function outline(kind, x, y, width, height) {
  if (kind === "choice") {
    const slant = 9;
    const corners = [
      [x + slant, y],
      [x + width - slant, y],
      [x + width, y + height / 2],
      [x + width - slant, y + height],
      [x + slant, y + height],
      [x, y + height / 2],
    ];
    return svg("polygon", { class: "shape", points: corners.join(" ") });
  }
  const round =
    { pass: 9, succeed: height / 2, fail: height / 2 }[kind] ?? (kind === "map" || kind === "parallel" ? 10 : 4);
  return svg("rect", { class: "shape", x, y, width, height, rx: round });
}

function paintGraph() {
  const execution = current();
  const ofFile =
    view.file && new Set(execution.entries.filter((entry) => entry.subject === view.file).map((entry) => entry.state));
  for (const [name, { state, group, badge, inside }] of nodes) {
    const found = execution.states[name] ?? { status: "idle", visits: 0 };
    group.dataset.status = found.status;
    group.setAttribute("aria-pressed", String(view.state === name));
    group.setAttribute("aria-label", `${name}, ${kindOf(state)}: ${told(found)}`);
    group.classList.toggle("dimmed", Boolean(ofFile) && !ofFile.has(name) && !inside);
    badge.textContent = count(found, inside);
  }
  for (const { edge, line, text } of edges) {
    const taken = execution.edges.find(
      (each) => each.from === edge.from && each.to === edge.to && each.isCatch === edge.isCatch,
    );
    const isDimmed = Boolean(ofFile) && !(ofFile.has(edge.from) && ofFile.has(edge.to));
    const parts = text ? [line, text] : [line];
    for (const part of parts) {
      part.classList.toggle("taken", Boolean(taken));
      part.classList.toggle("dimmed", isDimmed);
    }
    // Where arrows run into one another, those that were taken are on top.
    if (taken) line.parentNode.append(...parts);
  }
}

const kindOf = (state) => ({ function: "Lambda function", service: "service call" })[state.kind] ?? state.kind;

/** ×5, and how many of the five went wrong. */
function count(found, inside) {
  if (!found.visits) return "";
  const wrong = ["failed", "caught", "stopped"]
    .filter((status) => found.ends[status])
    .map((status) => `${found.ends[status]}${SIGNS[status]}`);
  const parts = found.visits > 1 ? [`×${found.visits}`] : [];
  if (found.items) parts.push(plural(found.items, "item"));
  return [...parts, ...wrong.map((text) => (found.visits > 1 ? text : text.slice(1)))].join(inside ? " · " : " ");
}

function told(found) {
  if (!found.visits) return MEANINGS[found.status];
  const ends = Object.entries(found.ends).map(([status, times]) => `${times} ${MEANINGS[status]}`);
  return `${plural(found.visits, "visit")}, ${ends.join(", ")}${found.retries ? `, ${found.retries} retried` : ""}`;
}

/** Scrolls the picture, never the page. */
function reveal({ group }) {
  const [state, frame] = [group, byId("graph")].map((each) => each.getBoundingClientRect());
  if (state.bottom > frame.bottom) byId("graph").scrollTop += state.bottom - frame.bottom + 20;
  else if (state.top < frame.top) byId("graph").scrollTop -= frame.top - state.top + 20;
}

function moveFocus(name) {
  for (const { group } of nodes.values()) group.setAttribute("tabindex", "-1");
  const { group } = nodes.get(name);
  group.setAttribute("tabindex", "0");
  group.focus();
}

const DIRECTIONS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** The nearest state in the direction of an arrow key. */
function neighbour(name, [right, down]) {
  const from = nodes.get(name);
  let best = null;
  for (const [other, { x, y }] of nodes) {
    const ahead = (x - from.x) * right + (y - from.y) * down;
    const distance = Math.hypot(x - from.x, y - from.y);
    if (ahead > 1 && (!best || distance < best.distance)) best = { other, distance };
  }
  return best?.other;
}

function keyInGraph(event) {
  const name = event.target.closest("[data-state]")?.dataset.state;
  if (!name) return;
  if (event.key in DIRECTIONS) {
    const next = neighbour(name, DIRECTIONS[event.key]);
    if (next) moveFocus(next);
  } else if (event.key === "Enter" || event.key === " ") filterByState(name);
  else return;
  event.preventDefault();
}

function drawLegend() {
  const always = ["run", "caught", "failed", "idle"];
  const found = new Set(DATA.executions.flatMap(({ states }) => Object.values(states).map(({ status }) => status)));
  for (const status of Object.keys(MEANINGS).filter((each) => always.includes(each) || found.has(each))) {
    byId("legend").append(
      element("li", {}, element("span", { class: "swatch", "data-status": status }, SIGNS[status]), MEANINGS[status]),
    );
  }
  byId("legend").append(
    element("li", {}, element("span", { class: "dashes" }), "on errors"),
    element("li", {}, "×2 visits"),
    element(
      "li",
      {},
      element("button", { type: "button", id: "whole", "aria-pressed": "false", onclick: toggleWhole }, "Whole graph"),
    ),
  );
}

function toggleWhole({ currentTarget }) {
  const isWhole = byId("graph").classList.toggle("whole");
  currentTarget.setAttribute("aria-pressed", String(isWhole));
}
