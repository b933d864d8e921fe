// Where states and arrows go: each machine is laid out on its own, and is a box in the one around it.

const NODE_HEIGHT = 28;
const CORNER = 14;
const BOX = { side: 12, top: 30, bottom: 12 };
const measure = document.createElement("canvas").getContext("2d");

function textWidth(text, font) {
  measure.font = font;
  return measure.measureText(text).width;
}

const labelWidth = (label) => textWidth(label, "10.5px system-ui, sans-serif") + 6;

function layOut(machine) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 16, edgesep: 10, ranksep: 24 });
  for (const state of machine.states) {
    if (state.inside) {
      const inside = layOut(state.inside);
      graph.setNode(state.name, {
        state,
        inside,
        width: Math.max(inside.width, 200) + 2 * BOX.side,
        height: inside.height + BOX.top + BOX.bottom,
      });
    } else {
      const slant = state.kind === "choice" ? 22 : 12;
      graph.setNode(state.name, {
        state,
        width: textWidth(state.name, "12px system-ui, sans-serif") + 22 + slant,
        height: NODE_HEIGHT,
      });
    }
  }
  const loops = backwardEdges(machine);
  machine.edges.forEach((edge, number) => {
    if (loops.has(edge)) return;
    // Dashes say that it is an error's; other errors than all have a name.
    const label = edge.label === "error" ? "" : edge.label;
    const room = label ? { width: labelWidth(label), height: 12, labelpos: "c" } : {};
    graph.setEdge(edge.from, edge.to, { edge, label, weight: edge.isCatch ? 1 : 4, ...room }, String(number));
  });
  dagre.layout(graph);
  const nodes = graph.nodes().map((name) => graph.node(name));
  const edges = graph.edges().map((name) => ({ ...graph.edge(name), target: graph.node(name.w) }));
  for (const edge of edges) edge.points = pastBoxes(edge, nodes);
  const left = Math.min(
    ...nodes.map(({ x, width }) => x - width / 2),
    ...edges.flatMap(({ points }) => points.map(({ x }) => x)),
  );
  edges.push(
    ...[...loops].map((edge, number) =>
      backward(edge, graph.node(edge.from), graph.node(edge.to), left - 16 * (number + 1)),
    ),
  );
  return withinBounds(nodes, edges);
}

/** Edges that lead back to where one has come from. */
function backwardEdges(machine) {
  const found = new Set();
  const done = new Set();
  const visit = (name, way) => {
    for (const edge of machine.edges.filter(({ from }) => from === name)) {
      if (way.includes(edge.to)) found.add(edge);
      else if (!done.has(edge.to)) visit(edge.to, [...way, edge.to]);
    }
    done.add(name);
  };
  visit(machine.start, [machine.start]);
  return found;
}

/** Up along the left side, where nothing else is. */
function backward(edge, from, to, x) {
  const [start, end] = [from, to].map((node) => ({ x: node.x - node.width / 2, y: node.y }));
  const points = [start, { x, y: start.y }, { x, y: end.y }, end];
  return { edge, label: edge.label, points, x, y: (start.y + end.y) / 2, width: labelWidth(edge.label) };
}

/** dagre leads an edge to the middle of a row, and from there straight on: through the corners of a tall box in it. */
function pastBoxes({ points, target }, nodes) {
  const tall = (row) => nodes.find(({ inside, y }) => inside && Math.abs(y - row) < 1);
  return points.flatMap((point, index) => {
    const isLast = index === points.length - 1;
    const box = isLast ? tall(target.y) : index > 0 && tall(point.y);
    if (!box || box === target) return [point];
    const [top, bottom] = [-1, 1].map((side) => box.y + (side * box.height) / 2);
    if (isLast)
      return [
        { x: target.x, y: top },
        { x: target.x, y: target.y - target.height / 2 },
      ];
    return [
      { x: point.x, y: top },
      { x: point.x, y: bottom },
    ];
  });
}

/** dagre measures the nodes; its edges may go around them. */
function withinBounds(nodes, edges) {
  const corners = ({ x, y, width = 0, height = 0 }) => [
    [x - width / 2, y - height / 2],
    [x + width / 2, y + height / 2],
  ];
  const points = [...nodes, ...edges.filter(({ label }) => label), ...edges.flatMap((edge) => edge.points)].flatMap(
    corners,
  );
  const [left, top, right, bottom] = [Math.min, Math.max].flatMap((pick) =>
    [0, 1].map((axis) => pick(...points.map((point) => point[axis]))),
  );
  for (const place of [...nodes, ...edges, ...edges.flatMap((edge) => edge.points)]) {
    place.x -= left;
    place.y -= top;
  }
  return { width: right - left, height: bottom - top, nodes, edges };
}

/** A path along the points, with rounded corners. */
function curve(points) {
  const toward = ([x1, y1], [x2, y2]) => {
    const length = Math.hypot(x2 - x1, y2 - y1);
    const part = length ? Math.min(CORNER / length, 0.5) : 0;
    return [x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
  };
  const corners = points
    .slice(1, -1)
    .map((point, index) => `L${toward(point, points[index])}Q${point} ${toward(point, points[index + 2])}`);
  return `M${points[0]}${corners.join("")}L${points.at(-1)}`;
}
