/* Views, search, contact sheets one can click, and what one can do to a faceset. Text goes in as text, never as HTML. */
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => Array.from(root.querySelectorAll(selector));
function make(tag, words, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (words) node.textContent = words;
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  node.append(...children);
  return node;
}
const button = (words, onclick, attributes = {}) => make("button", words, {type: "button", onclick, ...attributes});
const cards = $$(".card"), holder = $("#cards");
const setOf = card => DATA.sets[card.dataset.i];
const cardOf = folder => document.getElementById(folder);
const nameOf = set => marks.now.name[set.f] || set.t || set.p || "Unnamed";
const label = set => nameOf(set) + " " + set.n;

/* Views */
function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const inside = wanted && document.getElementById(wanted);
  const view = (inside && inside.closest(".view")) || $("#facesets");
  for (const section of $$(".view")) section.hidden = section !== view;
  for (const link of $$("nav a")) {
    if (link.dataset.view === view.id) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (inside && inside.classList.contains("card")) {
    if (inside.hidden) { $("#q").value = ""; $("#show").value = ""; if ($("#user")) $("#user").value = ""; filter(); }
    goTo(inside);
  } else if (inside) scrollTo(0, 0);
}

/* Search, filter, sort */
const hay = DATA.sets.map(set => [set.t, set.p, set.n, set.f, ...set.i, ...set.u.map(([user]) => DATA.users[user]), ...set.y].join("\n").toLocaleLowerCase());
const kinds = {
  "": () => true, todo: set => !marks.looked(set.f), done: set => marks.looked(set.f), new: set => set.new, check: set => set.c,
  unnamed: set => !set.t && !marks.now.name[set.f], named: set => set.t || marks.now.name[set.f],
};
const orders = {
  number: (a, b) => a.n - b.n, newest: (a, b) => b.n - a.n, size: (a, b) => b.s - a.s || a.n - b.n, spread: (a, b) => b.d - a.d || a.n - b.n,
  quality: (a, b) => b.q - a.q || a.n - b.n,
  name: (a, b) => (!(a.t || a.p) - !(b.t || b.p)) || (a.t || a.p).localeCompare(b.t || b.p) || a.n - b.n,
};
function filter() {
  const words = $("#q").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const kind = kinds[$("#show").value], user = $("#user") ? $("#user").value : "";
  let count = 0;
  for (const card of cards) {
    const set = setOf(card), text = hay[card.dataset.i] + "\n" + (marks.now.name[set.f] || "").toLocaleLowerCase();
    const fits = kind(set) && words.every(word => text.includes(word)) && (!user || set.u.some(([number]) => DATA.users[number] === user));
    card.hidden = !fits;
    count += fits;
  }
  $("#accept").hidden = !acceptable().length;
  $("#shown").textContent = count === cards.length ? `${count.toLocaleString("en")} facesets` : `${count.toLocaleString("en")} of ${cards.length.toLocaleString("en")}`;
}
/* Facesets in sight that have no name yet and one that Immich proposes, of which no other has it */
function acceptable() {
  const times = new Map();
  for (const set of DATA.sets) times.set(set.t || set.p, (times.get(set.t || set.p) || 0) + 1);
  return cards.filter(card => !card.hidden).map(setOf).filter(set => set.p && !set.t && !marks.looked(set.f) && times.get(set.p) === 1);
}
function sort() {
  const order = orders[$("#sort").value];
  cards.sort((a, b) => order(setOf(a), setOf(b)));
  holder.append(...cards);
}

/* Contact sheets: buttons over the tiles, made when a card comes near */
function face(set, index, picture) {
  const item = facesOf(set)[index];
  const node = button("", () => large.open(set, index), {class: "face", "data-face": index});
  if (picture) node.append(make("img", "", {loading: "lazy", decoding: "async", src: set.f + "/" + item.file, alt: ""}));
  return node;
}
function paintFace(node, set) {
  const item = facesOf(set)[node.dataset.face], not = marks.isNot(set.f, item.key);
  node.toggleAttribute("data-not", not);
  node.setAttribute("aria-label", `Face ${item.rank} of ${label(set)}${item.year ? ", " + item.year : ""}${not ? ", marked as not this person" : ""}`);
}
function wake(card) {
  if (card.dataset.awake) return;
  card.dataset.awake = 1;
  const set = setOf(card);
  for (const sheet of $$(".sheet", card)) {
    const faces = sheet.dataset.sheet === "best" ? Array.from({length: set.b}, (_, index) => index) : set.o;
    $("img", sheet).alt = "";
    sheet.append(make("div", "", {class: "over", role: "group", "aria-label": sheet.dataset.sheet === "best" ? "Best faces" : "Faces least like the others"}, ...faces.map(index => face(set, index, false))));
  }
  card.append(tools(card, set));
  paint(card);
}
function tools(card, set) {
  const bar = make("div", "", {class: "tools"});
  bar.append(button("Looks right", () => act.ok(card), {"data-act": "ok"}));
  if (set.p && !set.t) $(".immich", card).append(" ", button(`Yes, ${set.p}`, () => act.accept(card), {"data-act": "accept"}));
  bar.append(button("Name", () => act.name(card), {"data-act": "name"}), button("Merge", () => act.merge(card), {"data-act": "merge"}), button("Drop", () => act.drop(card), {"data-act": "drop"}));
  const shown = set.b + set.o.length;
  if (facesOf(set).length > shown) bar.append(button(`All ${set.s}`, event => more(card, set, event.currentTarget), {"data-act": "more", "aria-expanded": "false"}));
  return bar;
}
function more(card, set, opener) {
  const open = $(".more", card);
  opener.setAttribute("aria-expanded", String(!open));
  if (open) { open.nextElementSibling && open.nextElementSibling.classList.contains("rest") && open.nextElementSibling.remove(); open.remove(); return; }
  const odd = new Set(set.o), faces = facesOf(set), list = [];
  for (let index = set.b; index < faces.length; index++) if (!odd.has(index)) list.push(index);
  const grid = make("div", "", {class: "more", role: "group", "aria-label": "More faces"}, ...list.map(index => face(set, index, true)));
  card.insertBefore(grid, $(".facts", card));
  if (faces.length < set.s) grid.after(make("p", `${set.s - faces.length} more in `, {class: "note rest"}, make("a", set.f, {href: set.f + "/"})));
  for (const node of $$(".face", grid)) paintFace(node, set);
}
function paint(card) {
  const set = setOf(card), now = marks.now, badge = $(".mark", card), name = $(".name", card);
  const into = now.merge[set.f] && SETS.get(now.merge[set.f]);
  const said = now.drop[set.f] ? "drop" : into ? "one with " + label(into) : now.name[set.f] ? "named" : now.ok[set.f] ? "looks right" : "";
  badge.textContent = said; badge.hidden = !said;
  card.toggleAttribute("data-gone", !!(now.drop[set.f] || into));
  name.textContent = now.name[set.f] || set.t || "Unnamed";
  name.classList.toggle("unnamed", !(now.name[set.f] || set.t));
  for (const node of $$(".face", card)) paintFace(node, set);
  for (const [kind, on] of [["ok", now.ok[set.f]], ["drop", now.drop[set.f]], ["merge", into]]) {
    const node = $(`[data-act=${kind}]`, card);
    if (node) node.setAttribute("aria-pressed", String(!!on));
  }
  const accept = $("[data-act=accept]", card);
  if (accept) { accept.setAttribute("aria-pressed", String(now.name[set.f] === set.p)); }
}

/* What one can do to a faceset */
let here = null;
function goTo(card) {
  if (!card) return;
  if (here) here.classList.remove("here");
  here = card;
  wake(card);
  card.classList.add("here");
  card.focus({preventScroll: true});
  card.scrollIntoView({block: "nearest"});
}
function step(by) {
  const visible = cards.filter(card => !card.hidden);
  if (!visible.length) return;
  const at = visible.indexOf(here);
  goTo(visible[Math.max(0, Math.min(visible.length - 1, at < 0 ? 0 : at + by))]);
}
/* Mark, then go on to the faceset that came after it, even if the mark hid this one from a filter */
function advance(card, mark, on = true) {
  const visible = cards.filter(other => !other.hidden), after = visible[visible.indexOf(card) + 1];
  mark();
  if (on && after) goTo(after); else if (!card.hidden) goTo(card);
}
const act = {
  ok(card) { const set = setOf(card), on = !marks.now.ok[set.f]; advance(card, () => marks.ok(set.f, on), on); },
  accept(card) { const set = setOf(card), on = marks.now.name[set.f] !== set.p; if (set.p && !set.t) advance(card, () => marks.name(set.f, on ? set.p : ""), on); },
  drop(card) { const set = setOf(card), on = !marks.now.drop[set.f]; advance(card, () => marks.drop(set.f, on), on); },
  name(card) {
    const bar = $(".tools", card), old = $("form", bar), set = setOf(card);
    if (old) { old.remove(); $("[data-act=name]", bar).focus(); return; }
    const field = make("input", "", {type: "text", list: "names", maxlength: 100, "aria-label": `Name of faceset ${set.n}`, value: marks.now.name[set.f] || set.t || set.p || ""});
    const form = make("form", "", {onsubmit: event => {
      event.preventDefault();
      form.remove();
      advance(card, () => marks.name(set.f, field.value.trim().replace(/\s+/g, " ")));
    }, onkeydown: event => { if (event.key === "Escape") { event.stopPropagation(); form.remove(); card.focus(); } }}, field, make("button", "Save name", {type: "submit"}));
    bar.append(form); field.focus(); field.select();
  },
  merge(card) {
    const set = setOf(card);
    if (marks.now.merge[set.f]) { marks.merge(set.f, ""); return; }
    merging.open(card, set);
  },
};
