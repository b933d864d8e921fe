const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

const SHOWN_FILES = 200;

const view = { execution: 0, state: null, file: null, query: "" };
const current = () => DATA.executions[view.execution];

/** Shows one state's visits, or one file's way, or everything. What is chosen already is let go. */
function filterBy({ state = null, file = null }) {
  view.state = state === view.state ? null : state;
  view.file = file === view.file ? null : file;
  paintGraph();
  showHistory();
  markFile();
}

const filterByState = (state) => filterBy({ state });

// Pills

function titleOf(number) {
  const { title } = DATA.executions[number];
  return DATA.executions.length > 9 ? `${number + 1}: ${title}` : title;
}

function drawPills() {
  DATA.executions.forEach((execution, number) => {
    const status = look(execution);
    byId("pills").append(
      element(
        "button",
        {
          role: "tab",
          id: `pill-${number}`,
          type: "button",
          "aria-controls": "execution",
          "data-status": status,
          title: execution.note,
          onclick: () => choose(number),
        },
        element("span", { class: "sign", "aria-hidden": "true" }, SIGNS[status]),
        element("span", {}, titleOf(number)),
        element("span", { class: "quiet" }, duration(execution.seconds)),
        element("span", { class: "hidden" }, execution.status),
      ),
    );
  });
}

/** An execution that succeeded may still have had trouble with single files or messages. */
function look(execution) {
  if (execution.status !== "SUCCEEDED") return execution.status === "FAILED" ? "failed" : "stopped";
  return execution.messagesBack ? "caught" : "run";
}

function choose(number) {
  Object.assign(view, { execution: number, state: null, file: null });
  for (const [index, pill] of [...byId("pills").children].entries()) {
    pill.setAttribute("aria-selected", String(index === number));
    pill.setAttribute("tabindex", index === number ? "0" : "-1");
  }
  byId("execution").setAttribute("aria-labelledby", `pill-${number}`);
  showSummary();
  paintGraph();
  showOutcome();
  showHistory();
  byId("graph").scrollTop = 0;
  const failed = [...nodes.values()].find(({ group }) => group.dataset.status === "failed");
  if (failed) reveal(failed);
}

function keyInPills(event) {
  const last = DATA.executions.length - 1;
  const next = { ArrowRight: view.execution + 1, ArrowLeft: view.execution - 1, Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose((next + last + 1) % (last + 1));
  byId(`pill-${view.execution}`).focus();
}

// Summary

function showSummary() {
  const execution = current();
  const facts = [];
  const sentences = [
    [execution.error, "error"],
    [execution.note, null],
  ].filter(([text]) => text);
  const outcomes = countBy(execution.files, (file) => file.outcome);
  const fates = [...outcomes].map(([outcome, times]) => `${times} ${outcome}`).join(", ");
  if (outcomes.size) facts.push(`${plural(execution.files.length, "file")}: ${fates}`);
  if (execution.manifests.length) facts.push(plural(execution.manifests.length, "manifest"));
  if (execution.locksTaken) facts.push(`lock taken ${execution.locksTaken}×, released ${execution.locksReleased}×`);
  if (execution.messagesBack !== 0)
    facts.push(
      execution.messagesBack === null
        ? "its messages go back to the queue"
        : `${plural(execution.messagesBack, "message")} back to the queue`,
    );
  byId("summary").replaceChildren(
    element("span", { class: "status", "data-status": look(execution) }, execution.status),
    ...sentences.map(([text, style]) => element("span", { class: style }, text)),
    ...facts.map((fact) => element("span", { class: "fact" }, fact)),
  );
  const gap = byId("gap");
  gap.hidden = !hasGaps(execution);
  gap.textContent =
    "Inside Maps and Parallels this engine reports calls of functions and services only: these are drawn and counted. " +
    "Whether the hatched states were run, and which ways were taken, is not reported.";
}

const hasGaps = (execution) => Object.values(execution.states).some(({ status }) => status === "untold");

function countBy(items, keyOfItem) {
  const counts = new Map();
  for (const item of items) counts.set(keyOfItem(item), (counts.get(keyOfItem(item)) ?? 0) + 1);
  return counts;
}

// Outcome

/** The versions of each file, of all executions. */
const VERSIONS = new Map();
for (const { uri, version } of DATA.executions.flatMap((execution) => execution.files))
  VERSIONS.set(uri, (VERSIONS.get(uri) ?? new Set()).add(version));

function showOutcome() {
  const execution = current();
  const found = view.query
    ? DATA.executions.flatMap((each, number) =>
        each.files
          .filter((file) => keyOf(file.uri).toLowerCase().includes(view.query))
          .map((file) => ({ file, number })),
      )
    : execution.files.map((file) => ({ file, number: view.execution }));
  byId("outcome").replaceChildren(
    ...(found.length || view.query ? [filesTable(found)] : []),
    ...(execution.manifests.length && !view.query ? [manifestsTable(execution.manifests)] : []),
    ...(execution.rejected.length && !view.query ? [rejectedList(execution.rejected)] : []),
    ...(found.length || view.query || execution.manifests.length || execution.rejected.length
      ? []
      : [element("p", { class: "quiet" }, "No files, no manifests: there was nothing to do.")]),
  );
  markFile();
}

function filesTable(found) {
  const title = view.query
    ? `${plural(found.length, "file")} with “${view.query}” in all executions`
    : `Files: ${found.length}`;
  return table(
    title,
    [...(view.query ? ["Execution"] : []), "File", "Size", "Outcome", DATA.tableRead],
    found.slice(0, SHOWN_FILES).map(({ file, number }) => [
      ...(view.query
        ? [element("button", { type: "button", class: "link", onclick: () => choose(number) }, titleOf(number))]
        : []),
      element(
        "span",
        {},
        element(
          "button",
          {
            type: "button",
            class: "link key",
            "data-uri": file.uri,
            "aria-pressed": "false",
            title: "Show its way through the machine",
            onclick: () => showFile(number, file.uri),
          },
          element("bdi", {}, keyOf(file.uri)),
        ),
        file.version && VERSIONS.get(file.uri).size > 1 ? versionOf(file.version) : null,
      ),
      element("span", { class: "number" }, size(file.size)),
      element(
        "span",
        {},
        element("span", { class: "outcome", "data-outcome": file.outcome }, file.outcome),
        file.why && `: ${file.why}`,
      ),
      file.manifest
        ? element("span", { class: "whole", title: file.manifestPath }, `in ${file.manifest}`)
        : element("span", { class: "whole" }, file.status),
    ]),
    found.length > SHOWN_FILES
      ? `${found.length - SHOWN_FILES} more are not shown: look for a longer part of the key`
      : null,
  );
}

function versionOf(version) {
  return element("span", { class: "quiet whole", title: `version ${version}` }, ` ${seen(version).slice(0, 12)}`);
}

function showFile(number, uri) {
  if (number !== view.execution) choose(number);
  filterBy({ file: uri });
}

function markFile() {
  for (const button of byId("outcome").querySelectorAll("[data-uri]"))
    button.setAttribute("aria-pressed", String(button.dataset.uri === view.file));
}

function manifestsTable(manifests) {
  return table(
    `Manifests: ${manifests.length}`,
    ["Manifest", "", "Path", "Size", "Files", "Job"],
    manifests.map((manifest) => [
      element("b", { class: "whole" }, manifest.name),
      manifest.isResumed ? "resumed" : "created",
      element("span", { class: "key" }, keyOf(manifest.path)),
      element("span", { class: "number" }, size(manifest.size)),
      element(
        "details",
        {},
        element("summary", {}, String(manifest.fileCount)),
        element(
          "ul",
          {},
          ...manifest.versions.map(([uri, version]) =>
            element("li", { class: "key" }, element("bdi", {}, keyOf(uri)), versionOf(version)),
          ),
        ),
      ),
      manifest.jobRunId
        ? element("span", { class: "whole", title: manifest.jobRunId }, `run ${manifest.jobRunId.slice(0, 8)}`)
        : element("span", {}, "not started"),
    ]),
  );
}

function rejectedList(rejected) {
  return table(
    "Messages rejected",
    ["Message", "Why"],
    rejected.map((message) => [element("span", { class: "key" }, seen(message.messageId)), message.reason]),
  );
}

function table(title, headers, rows, note = null) {
  return element(
    "table",
    {},
    element("caption", {}, title, note && element("span", { class: "quiet" }, ` ${note}`)),
    element("thead", {}, element("tr", {}, ...headers.map((header) => element("th", { scope: "col" }, header)))),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))))),
  );
}

// History

function showHistory() {
  const execution = current();
  const shown = execution.entries.filter(
    (entry) => (!view.state || entry.state === view.state) && (!view.file || entry.subject === view.file),
  );
  const subject = view.state ?? (view.file && keyOf(view.file));
  byId("filter").replaceChildren(
    ...(subject
      ? [
          element("bdi", {}, subject),
          `: ${shown.length} of ${execution.entries.length}`,
          element("button", { type: "button", id: "all", onclick: showAll }, "Show all ", element("kbd", {}, "Esc")),
        ]
      : [`${execution.entries.length} entries since ${execution.startedAt.replace("T", " ").slice(0, 19)} UTC`]),
  );
  for (const { group } of nodes.values()) group.classList.remove("opened");
  byId("entries").replaceChildren(...shown.map(historyEntry));
  byId("entries").scrollTop = 0;
}

function showAll() {
  filterBy({});
  byId("entries").querySelector("summary")?.focus();
}

const WHAT = {
  visit: (entry) => entry.state,
  call: (entry) => `${entry.state} (call)`,
  log: (entry) => `${entry.state} logs ${entry.message}`,
  execution: (entry) => entry.message,
};

function signOf(entry) {
  if (entry.kind === "log") return "≡";
  return entry.kind === "execution" && entry.status === "run" ? "▸" : SIGNS[entry.status];
}

function remarkOn(entry) {
  const remark = entry.error ?? (entry.retries ? `retried ${plural(entry.retries, "time")}` : null);
  return remark && element("span", { class: "error" }, remark);
}

function historyEntry(entry) {
  const head = element(
    "summary",
    {},
    element("span", { class: "sign", "aria-label": MEANINGS[entry.status] }, signOf(entry)),
    element("span", { class: "what" }, WHAT[entry.kind](entry)),
    element("span", { class: "subject" }, element("bdi", {}, keyOf(entry.subject ?? ""))),
    element("span", { class: "quiet number" }, (entry.seconds ?? null) === null ? "" : duration(entry.seconds)),
    element("span", { class: "quiet number" }, `+${entry.at.toFixed(3)} s`),
    remarkOn(entry),
  );
  const made = element("details", { class: `entry ${entry.kind}`, "data-status": entry.status }, head);
  // When it is first opened, and before it is: Enter is a click too.
  head.addEventListener("click", () => made.append(entryBody(entry)), { once: true });
  made.addEventListener("toggle", () => {
    const node = nodes.get(entry.state);
    node?.group.classList.toggle("opened", made.open);
    if (node && made.open) reveal(node);
  });
  return made;
}

function entryBody(entry) {
  return element(
    "div",
    { class: "body" },
    payload("Input", entry.input),
    payload(entry.kind === "log" ? "Fields" : "Output", entry.output),
    entry.events.length
      ? element(
          "div",
          { class: "events" },
          element("h3", {}, "Events"),
          ...entry.events.map((event) => historyEvent(event)),
        )
      : null,
  );
}

function historyEvent(event) {
  const head = [
    element("span", { class: "number quiet" }, `${event.id}`),
    element("span", {}, event.type),
    element("span", { class: "quiet number" }, `+${event.at.toFixed(3)} s`),
  ];
  return event.data === null
    ? element("div", { class: "event" }, ...head)
    : element(
        "details",
        { class: "event" },
        element("summary", {}, ...head),
        element("pre", { tabindex: "0" }, pretty(event.data)),
      );
}

function payload(title, number) {
  return (number ?? null) === null
    ? null
    : element("div", {}, element("h3", {}, title), element("pre", { tabindex: "0" }, pretty(number)));
}

function pretty(number) {
  try {
    return seenLines(JSON.stringify(JSON.parse(DATA.texts[number]), null, 2));
  } catch {
    return seenLines(DATA.texts[number]);
  }
}

const seenLines = (text) => text.split("\n").map(seen).join("\n");

/** Up and down move between the entries, as they do in the graph. */
function keyInHistory(event) {
  if (event.target.parentElement?.parentElement !== byId("entries")) return;
  const entry = event.target.parentElement;
  const next = { ArrowDown: entry.nextElementSibling, ArrowUp: entry.previousElementSibling }[event.key];
  if (!next) return;
  event.preventDefault();
  next.firstElementChild.focus();
}

byId("title").textContent = DATA.title;
byId("made").textContent =
  `made ${DATA.madeAt.replace("T", " ").slice(0, 16)} UTC` +
  (DATA.leftOut ? `; ${plural(DATA.leftOut, "plain execution")} left out` : "");
document.title = DATA.title;
drawGraph();
drawLegend();
drawPills();
const telling = DATA.executions.findIndex((each) => each.manifests.length || each.status !== "SUCCEEDED");
if (DATA.executions.length) choose(Math.max(0, telling));
else byId("summary").textContent = "There was no execution.";
byId("graph").addEventListener("keydown", keyInGraph);
byId("graph").addEventListener("click", () => filterBy({}));
byId("pills").addEventListener("keydown", keyInPills);
byId("entries").addEventListener("keydown", keyInHistory);
byId("find").addEventListener("input", (event) => {
  view.query = event.target.value.trim().toLowerCase();
  showOutcome();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && (view.state || view.file)) filterBy({});
});
