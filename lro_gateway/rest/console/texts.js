// Makes elements and texts that a person reads.
"use strict";

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A number of seconds in one unit.
function span(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

// How long ago a time was.
function since(time) {
  return time ? span(Math.max(0, (Date.now() - Date.parse(time)) / 1000)) : "";
}

function ago(time) {
  return time ? `${since(time)} ago` : "";
}

// How far away a time is.
function until(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  return seconds <= 0 ? "now" : `in ${span(seconds)}`;
}

// A text with an escape of JSON for each character that shows nothing. Such a character could change the
// direction of the text around it, or hide a part of it.
function visible(text) {
  return text.replace(/(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu, (each) =>
    each.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""));
}

// A text of several lines, each of them as `visible` returns it.
function visibleLines(text) {
  return text.split("\n").map(visible).join("\n");
}

// A cell with a time in few words. Its title is the time, and a narrow page shows its label.
function cell(label, time, textContent) {
  const made = element("td", { className: "number", title: time ?? "", textContent });
  made.dataset.label = label;
  return made;
}

// The name of an operation. A line of it may begin after a slash, and within a part only if the part is
// wider than the line.
function parts(name) {
  return visible(name).split(/(?<=\/)/).map((textContent) => element("span", { className: "part", textContent }));
}

// The words of a refusal.
async function said(answer) {
  try {
    return visible((await answer.json()).error.message);
  } catch {
    return `the answer is ${answer.status} ${answer.statusText}`;
  }
}
