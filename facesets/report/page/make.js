"use strict";
/* Finding and making elements, for the report and the review. Text goes in as text, never as HTML. */
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => Array.from(root.querySelectorAll(selector));
function make(tag, words, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (words) node.textContent = words;
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined)
      node.setAttribute(name, value === true ? "" : value);
  node.append(...children);
  return node;
}
const button = (words, onclick, attributes = {}, ...children) =>
  make("button", words, {type: "button", onclick, ...attributes}, ...children);
