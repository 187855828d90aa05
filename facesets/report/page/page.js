/* The page: views, search, contact sheets one can click, dialogs and keys. Text goes in as text, never as HTML. */
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

/* Dialogs */
function dialog(id, title) {
  const heading = make("h2", title, {id: id + "-title"}), body = make("div");
  const node = make("dialog", "", {id, "aria-labelledby": id + "-title"}, heading, body);
  node.addEventListener("click", event => { if (event.target === node) node.close(); });
  document.body.append(node);
  return {node, heading, body, show() { if (!node.open) node.showModal(); }, close() { node.close(); }};
}
const large = {
  box: dialog("large", "Face"), set: null, at: 0,
  open(set, index) {
    this.set = set; this.at = index;
    if (!this.image) this.build();
    this.draw(); this.box.show();
  },
  build() {
    this.image = make("img", "", {width: 512, height: 512});
    this.words = make("p");
    this.not = button("", () => this.toggle(), {class: "main"});
    this.box.body.append(this.image, this.words, make("p", "", {class: "acts"}, button("Previous", () => this.step(-1)), this.not, button("Next", () => this.step(1)), button("Close", () => this.box.close())));
    this.box.node.addEventListener("keydown", event => {
      if (event.key === "ArrowLeft") this.step(-1); else if (event.key === "ArrowRight") this.step(1);
      else if (event.key.toLowerCase() === "x" && !event.ctrlKey && !event.metaKey) this.toggle(); else return;
      event.preventDefault(); event.stopPropagation();
    });
  },
  step(by) { const count = facesOf(this.set).length; this.at = (this.at + by + count) % count; this.draw(); },
  toggle() { const item = facesOf(this.set)[this.at]; marks.not(this.set.f, item.key, item.file, !marks.isNot(this.set.f, item.key)); this.draw(); },
  draw() {
    const item = facesOf(this.set)[this.at], not = marks.isNot(this.set.f, item.key);
    this.box.heading.textContent = label(this.set);
    this.image.src = this.set.f + "/" + item.file;
    this.image.alt = `Face ${item.rank} of ${label(this.set)}`;
    this.words.textContent = [`face ${item.rank} of ${this.set.s}`, item.year || "no date", item.user && "from " + item.user, `quality ${item.quality.toFixed(2)}`, `${item.distance.toFixed(2)} from the middle`].filter(Boolean).join(" · ");
    this.not.textContent = not ? "It is this person" : "Not this person";
  },
};
const merging = {
  box: dialog("merging", "One person with"),
  open(card, set) {
    this.box.heading.textContent = `${label(set)} is one person with`;
    const choose = folder => { this.box.close(); advance(card, () => marks.merge(set.f, folder)); };
    const near = set.near.map(([index, distance]) => {
      const other = DATA.sets[index], image = $(".sheet img", cardOf(other.f));
      const crop = make("span", "", {class: "crop " + (image ? image.parentElement.className.replace("sheet", "") : "")});
      if (image) crop.append(make("img", "", {src: image.getAttribute("src"), alt: "", width: image.getAttribute("width"), height: image.getAttribute("height")}));
      return button("", () => choose(other.f), {class: "strip"}, ).appendChild(crop).parentElement.appendChild(make("span", label(other) + " ", {class: "who"}, make("small", `${(distance / 100).toFixed(2)} apart`))).parentElement;
    });
    const field = make("input", "", {type: "text", list: "everybody", "aria-label": "Number or name of another faceset", placeholder: "Number or name"});
    const problem = make("p", "", {class: "problem", role: "status"});
    const form = make("form", "", {class: "bar", onsubmit: event => {
      event.preventDefault();
      const text = field.value.trim().toLocaleLowerCase();
      const found = DATA.sets.filter(other => other !== set && (String(other.n) === text || label(other).toLocaleLowerCase() === text || nameOf(other).toLocaleLowerCase() === text));
      if (found.length === 1) choose(found[0].f);
      else problem.textContent = found.length ? `${found.length} facesets have this name; give the number` : "There is no such faceset";
    }}, field, make("button", "Merge", {type: "submit", class: "main"}), button("Cancel", () => this.box.close()));
    const list = make("datalist", "", {id: "everybody"}, ...DATA.sets.filter(other => other !== set).map(other => make("option", "", {value: other.t || other.p ? label(other) : String(other.n)})));
    this.box.body.replaceChildren(make("div", "", {class: "choices"}, ...near), form, problem, list);
    this.box.show();
    (near[0] || field).focus();
  },
};
const saving = {
  box: dialog("saving", "Save the decisions"),
  open() {
    const text = marks.file(), count = marks.decisions().length;
    const area = make("textarea", text, {readonly: true, "aria-label": "decisions.json"});
    const said = make("p", "", {role: "status"});
    this.box.body.replaceChildren(
      make("p", `${count} ${count === 1 ? "decision" : "decisions"}, as one file. Save it, then run`), command("python sort_faces.py apply decisions.json"),
      make("p", "All of it is one run; python sort_faces.py undo takes it back.", {class: "note"}), area, said,
      make("p", "", {class: "acts"}, button("Save decisions.json", () => { download(text); said.textContent = "Saved where your browser saves files."; }, {class: "main", id: "download"}), button("Copy the text", event => copy(text, event.currentTarget)), button("Close", () => this.box.close())));
    this.box.show();
  },
};
function download(text) {
  const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  const link = make("a", "", {href: url, download: "decisions.json"});
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
function command(text) { return make("p", "", {}, make("span", "", {class: "command"}, make("code", text), button("Copy", event => copy(text, event.currentTarget), {class: "copy"}))); }
async function copy(text, node) {
  let done = true;
  try { await navigator.clipboard.writeText(text); } catch {
    const area = make("textarea", text);
    node.after(area); area.select(); done = document.execCommand("copy"); area.remove(); node.focus();
  }
  const before = node.textContent;
  node.textContent = done ? "Copied" : "Select and copy by hand";
  setTimeout(() => { node.textContent = before; }, 1600);
}
const help = dialog("help", "Keys");
const KEYS = [["j, k", "next, previous faceset"], ["a", "looks right"], ["y", "yes, the name that Immich proposes"], ["n", "name it"], ["m", "merge it with another"], ["d", "drop it"],
  ["x", "this face (focused, or large) is not this person"], ["u", "take back the last mark"], ["/", "search"], ["s", "save the decisions"], ["?", "these keys"]];
help.body.append(make("dl", "", {class: "keys"}, ...KEYS.flatMap(([key, words]) => [make("dt", "", {}, make("kbd", key)), make("dd", words)])), make("p", "", {class: "acts"}, button("Close", () => help.close())));

/* The tray below: how far the review is, and what would be saved */
const tray = make("aside", "", {id: "tray", "aria-label": "Decisions", hidden: true});
document.body.append(tray);
function drawTray() {
  const count = marks.decisions().length, looked = DATA.sets.filter(set => marks.looked(set.f)).length;
  tray.hidden = !(count || looked || marks.past.length);
  document.title = document.title.replace(/^\(\d+\) /, "");
  if (count) document.title = `(${count}) ${document.title}`;
  const lost = marks.lost ? make("span", " This browser keeps no marks for this page: save before you close it.", {class: "problem"}) : "";
  const keepFocus = tray.contains(document.activeElement) ? document.activeElement.textContent : "";
  tray.replaceChildren(
    make("p", `${count} ${count === 1 ? "decision" : "decisions"} · ${looked} of ${SETS.size} looked at`, {role: "status"}, lost, make("progress", "", {max: SETS.size || 1, value: looked, "aria-label": "Looked at"})),
    button("Undo", () => marks.undo(), {disabled: !marks.past.length}), button("Clear", () => { if (confirm("Forget every mark in this page?")) marks.clear(); }),
    button("Save decisions", () => saving.open(), {class: "main", disabled: !count}));
  if (keepFocus) { const again = $$("button", tray).find(node => node.textContent === keepFocus); if (again) again.focus(); }
}

/* What to check: what one can do there */
function checks() {
  for (const line of $$("li.check")) {
    const acts = $(".acts", line), id = line.dataset.check, data = acts.dataset;
    const known = (data.pair ? data.pair.split(" ") : data.of ? data.of.split(" ") : [data.open]).every(folder => SETS.has(folder));
    acts.append(button("", () => marks.seen(id, !marks.now.seen[id]), {"data-seen": id}));
    if (!known) continue;
    if (data.pair) {
      const [one, other] = data.pair.split(" ");
      acts.append(button("One person", () => marks.merge(other, marks.now.merge[other] ? "" : one), {"data-one": other}));
    }
    if (data.faces) {
      const faces = data.faces.split(" ").map(pair => pair.split("/"));
      acts.append(button(`These ${faces.length} are somebody else`, () => marks.notAll(data.open, faces, !faces.every(([key]) => marks.isNot(data.open, key))), {"data-half": data.open}));
    }
    if (data.open) acts.append(make("a", "Look at it", {href: "#" + data.open}));
    if (data.torn) for (const folder of data.of.split(" "))
      acts.append(button(`Not ${label(SETS.get(folder))}`, () => marks.not(folder, data.torn, "", !marks.isNot(folder, data.torn)), {"data-notthis": folder}));
  }
}
function drawChecks() {
  for (const line of $$("li.check")) {
    const acts = $(".acts", line), seen = $("[data-seen]", acts), one = $("[data-one]", acts);
    const pair = acts.dataset.pair;
    seen.textContent = marks.now.seen[seen.dataset.seen] ? "Look again" : pair ? "Two people" : "Seen";
    if (one) one.setAttribute("aria-pressed", String(one.dataset.one in marks.now.merge));
    let said = one && one.dataset.one in marks.now.merge;
    const half = $("[data-half]", acts);
    if (half) {
      const on = acts.dataset.faces.split(" ").every(pair => marks.isNot(half.dataset.half, pair.split("/")[0]));
      half.setAttribute("aria-pressed", String(on)); said = said || on;
    }
    for (const node of $$("[data-notthis]", acts)) { const on = marks.isNot(node.dataset.notthis, acts.dataset.torn); node.setAttribute("aria-pressed", String(on)); said = said || on; }
    line.classList.toggle("settled", !!(marks.now.seen[seen.dataset.seen] || said));
  }
}

/* Start */
function redraw() { for (const card of cards) if (card.dataset.awake || marks.looked(card.id) || $(".mark", card).textContent) paint(card); drawTray(); drawChecks(); if ($("#show").value) filter(); else $("#accept").hidden = !acceptable().length; }
marks.load();
marks.listeners.push(redraw);
$(".bar").hidden = false;
document.body.append(make("datalist", "", {id: "names"}, ...[...new Set(DATA.sets.flatMap(set => [set.t, set.p, ...set.i]).filter(Boolean))].sort().map(value => make("option", "", {value}))));
for (const id of ["q", "show", "user"]) if ($("#" + id)) $("#" + id).addEventListener("input", filter);
$("#sort").addEventListener("input", sort);
$(".bar").addEventListener("submit", event => event.preventDefault());
$("#accept").addEventListener("click", () => { const sets = acceptable(); marks.change(now => { for (const set of sets) now.name[set.f] = set.p; }); });
$("#keys").addEventListener("click", () => help.show());
for (const node of $$("[data-copy]")) node.addEventListener("click", () => copy(node.dataset.copy, node));
holder.addEventListener("focusin", event => { const card = event.target.closest(".card"); if (card && card !== here) { if (here) here.classList.remove("here"); here = card; wake(card); card.classList.add("here"); } });
holder.addEventListener("click", event => { const card = event.target.closest(".card"); if (card && !event.target.closest("a, button, input")) goTo(card); });
const near = new IntersectionObserver(entries => { for (const entry of entries) if (entry.isIntersecting) { wake(entry.target); near.unobserve(entry.target); } }, {rootMargin: "400px"});
for (const card of cards) near.observe(card);
addEventListener("hashchange", show);
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]") || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const key = event.key, face = event.target.closest && event.target.closest(".face");
  if (key === "?") help.show();
  else if (key === "s" && marks.decisions().length) saving.open();
  else if (key === "u") marks.undo();
  else if ($("#facesets").hidden) return;
  else if (key === "/") { $("#q").focus(); $("#q").select(); }
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "x" && face) { const set = setOf(face.closest(".card")), item = facesOf(set)[face.dataset.face]; marks.not(set.f, item.key, item.file, !marks.isNot(set.f, item.key)); }
  else if (here && "aynmd".includes(key) && key.length === 1) act[{a: "ok", y: "accept", n: "name", m: "merge", d: "drop"}[key]](here);
  else return;
  event.preventDefault();
});
checks();
redraw();
filter();
show();
