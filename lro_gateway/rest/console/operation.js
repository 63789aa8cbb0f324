// Shows one operation in words, and its JSON on request.
"use strict";

const MOST_SHOWN = 100;
const CODES = [
  ..."OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS".split(" "),
  ..."PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED".split(" "),
  ..."INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(" "),
];
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const shownOperation = document.getElementById("operation");
const facts = document.getElementById("facts");
let readings = 0;

// A list of names and what belongs to them. Without a value, a name is left out.
function described(pairs) {
  const list = element("dl");
  for (const [name, ...values] of pairs)
    if (values.some((each) => each !== undefined && each !== ""))
      list.append(element("dt", { textContent: visible(name) }), element("dd", {}, ...values.filter(Boolean)));
  return list;
}

// A time to the second, and how far away it is.
function time(text) {
  return text && `${text.replace("T", " ").replace(/\.\d+/, "").replace("Z", " UTC")} (${Date.parse(text) > Date.now() ? until(text) : ago(text)})`;
}

// A value of JSON as lists and texts, of which none can become a part of the page. The JSON itself has
// what is left out of a long list.
function readable(value) {
  if (value === "" || (value && typeof value === "object" && !Object.keys(value).length)) return element("span", { textContent: "(empty)" });
  if (value === null || typeof value !== "object") {
    const text = String(value);
    return element("span", { className: "value", textContent: TIME.test(text) ? time(text) : visibleLines(text) });
  }
  const type = value["@type"];
  const entries = Object.entries(value).filter(([key]) => key !== "@type");
  const shown = entries.slice(0, MOST_SHOWN).map(([key, each]) => [key, readable(each)]);
  const list = Array.isArray(value) ? element("ol", {}, ...shown.map(([, each]) => element("li", {}, each))) : described(shown);
  return element("div", {},
    ...(type ? [element("small", { textContent: visible(String(type).split("/").pop()) })] : []),
    ...(shown.length ? [list] : []),
    ...(entries.length > MOST_SHOWN ? [element("small", { textContent: `and ${entries.length - MOST_SHOWN} more` })] : []));
}

function section(title, value) {
  return value === undefined ? [] : [element("h3", { textContent: title }), readable(value)];
}

function failure(error) {
  if (!error) return [];
  const { code, message, details } = error;
  return [
    element("h3", { textContent: "Error" }),
    described([
      ["Code", code && `${CODES[code] ?? "unknown"} (${code})`],
      ["Message", message && readable(message)],
      ["Details", details?.length && readable(details)],
    ]),
  ];
}

// All of an operation that a person may want to know, the state first.
function told({ summary, metadata, response, error }) {
  const percent = summary.percent === undefined ? "" : `${Math.round(summary.percent)}%`;
  const bar = element("progress", { max: 100, value: summary.percent ?? 0, ariaLabel: "Progress" });
  return [
    described([
      ["State", element("strong", { className: summary.state, textContent: summary.state })],
      ["Status", visible(summary.statusText ?? "")],
      ["Delay", visible(summary.stallText ?? "")],
      ["Progress", percent && bar, percent],
      ["Method", visible(summary.kind ?? "")],
      ["Backend", visible(summary.backend ?? "")],
      ["Started", time(summary.createTime)],
      ["Changed", time(summary.updateTime)],
    ]),
    ...failure(error),
    ...section("Result", response),
    ...section("Metadata", metadata),
  ];
}

// Reads the operation of the dialog. What is shown stays until the answer is there.
async function readOperation() {
  const reading = ++readings;
  const { address } = shownOperation.dataset;
  let found;
  try {
    const answer = await fetch(address, { headers: authorized(), cache: "no-store" });
    found = answer.ok ? told(await answer.json()) : [`The operation cannot be read: ${await said(answer)}`];
  } catch (error) {
    found = [`The operation cannot be read: ${error.message}`];
  }
  if (reading === readings) facts.replaceChildren(...found);
}

// A dialog shows each change of its operation.
function changed(name) {
  if (shownOperation.open && shownOperation.dataset.name === name) readOperation();
}

// A link to an operation: a press shows the operation here, and the address is its JSON.
function operationLink(name, address, properties, ...children) {
  const link = element("a", { href: address, ...properties }, ...children);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    Object.assign(shownOperation.dataset, { name, address });
    document.getElementById("of").replaceChildren(...parts(name));
    document.getElementById("raw").href = address;
    facts.textContent = "Reading ...";
    shownOperation.showModal();
    readOperation();
  });
  return link;
}

// A link cannot send a token, so its JSON is shown here.
async function showData(event) {
  const link = event.target.closest("a.data");
  if (!link || !authorized().authorization) return;
  event.preventDefault();
  const answer = await fetch(link.href, { headers: authorized() });
  document.getElementById("shown").textContent = answer.ok ? visibleLines(await answer.text()) : await said(answer);
  document.getElementById("data").showModal();
}

document.addEventListener("click", showData);
