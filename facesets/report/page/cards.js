/* Views, search, and contact sheets one can click. */
const DATA = JSON.parse(document.getElementById("data").textContent);
/* Six bytes a face: 2 are its number, then quality, distance to the centroid, year since 1900 and user. */
function facesOf(set) {
  if (set.list) return set.list;
  const bytes = Uint8Array.from(atob(set.k), char => char.charCodeAt(0));
  set.list = [];
  for (let at = 0; at < bytes.length; at += 6) {
    const rank = bytes[at] * 256 + bytes[at + 1];
    set.list.push({file: String(rank).padStart(4, "0") + ".png", rank,
      quality: bytes[at + 2] / 255, distance: bytes[at + 3] / 127.5,
      year: bytes[at + 4] ? 1900 + bytes[at + 4] : 0, user: DATA.users[bytes[at + 5]] || ""});
  }
  return set.list;
}
const cards = $$(".card"), holder = $("#cards");
const setOf = card => DATA.sets[card.dataset.i];
const label = set => (set.t || set.p || "Unnamed") + " " + set.n;

/* Views */
function show() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const inside = wanted && document.getElementById(wanted);
  const view = (inside && inside.closest(".view")) || $("#facesets");
  for (const section of $$(".view")) section.hidden = section !== view;
  for (const link of $$("nav a")) {
    if (link.dataset.view === view.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (inside && inside.classList.contains("card")) {
    if (inside.hidden) clear();
    goTo(inside);
  } else if (inside) scrollTo(0, 0);
}

/* Search, filter, sort */
const usersOf = set => set.u.map(([user]) => DATA.users[user]);
const hay = DATA.sets.map(set =>
  [set.t, set.p, set.n, set.f, ...set.i, ...usersOf(set), ...set.y].join("\n").toLocaleLowerCase());
const kinds = {
  "": () => true, new: set => set.new, check: set => set.c,
  unnamed: set => !set.t, named: set => set.t,
};
const orders = {
  number: (a, b) => a.n - b.n, newest: (a, b) => b.n - a.n, size: (a, b) => b.s - a.s || a.n - b.n,
  spread: (a, b) => b.d - a.d || a.n - b.n,
  quality: (a, b) => b.q - a.q || a.n - b.n,
  name: (a, b) => (!(a.t || a.p) - !(b.t || b.p)) || (a.t || a.p).localeCompare(b.t || b.p) || a.n - b.n,
};
function filter() {
  const words = $("#q").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const kind = kinds[$("#show").value], user = $("#user") ? $("#user").value : "";
  let count = 0;
  for (const card of cards) {
    const set = setOf(card), text = hay[card.dataset.i];
    const fits = Boolean(kind(set)) && words.every(word => text.includes(word))
      && (!user || usersOf(set).includes(user));
    card.hidden = !fits;
    count += fits;
  }
  const shown = count.toLocaleString("en"), all = cards.length.toLocaleString("en");
  $("#shown").textContent = count === cards.length ? `${shown} facesets` : `${shown} of ${all}`;
  $("#none").hidden = count || !cards.length;
}
function clear() {
  for (const id of ["q", "show", "user"]) if ($("#" + id)) $("#" + id).value = "";
  filter();
}
function sort() {
  const order = orders[$("#sort").value];
  cards.sort((a, b) => order(setOf(a), setOf(b)));
  holder.append(...cards);
}

/* Contact sheets: buttons over the tiles, made when a card comes near */
function face(set, index, picture) {
  const item = facesOf(set)[index];
  const words = `Face ${item.rank} of ${label(set)}${item.year ? ", " + item.year : ""}`;
  const node = button("", () => large.open(set, index), {class: "face", "aria-label": words});
  const source = set.f + "/" + item.file;
  if (picture) node.append(make("img", "", {loading: "lazy", decoding: "async", src: source, alt: ""}));
  return node;
}
function wake(card) {
  if (card.dataset.awake) return;
  card.dataset.awake = 1;
  const set = setOf(card);
  for (const sheet of $$(".sheet", card)) {
    const best = sheet.dataset.sheet === "best";
    const faces = best ? Array.from({length: set.b}, (_, index) => index) : set.o;
    const called = best ? "Best faces" : "Faces least like the others";
    $("img", sheet).alt = "";
    sheet.append(make("div", "", {class: "over", role: "group", "aria-label": called},
      ...faces.map(index => face(set, index, false))));
  }
  const shown = set.b + set.o.length;
  if (facesOf(set).length > shown) card.append(make("div", "", {class: "tools"},
    button(`All ${set.s}`, event => more(card, set, event.currentTarget),
      {"data-act": "more", "aria-expanded": "false"})));
}
function more(card, set, opener) {
  const open = $(".more", card);
  opener.setAttribute("aria-expanded", String(!open));
  if (open) {
    if ($(".rest", card)) $(".rest", card).remove();
    open.remove();
    return;
  }
  const odd = new Set(set.o), faces = facesOf(set), list = [];
  for (let index = set.b; index < faces.length; index++) if (!odd.has(index)) list.push(index);
  const grid = make("div", "", {class: "more", role: "group", "aria-label": "More faces"},
    ...list.map(index => face(set, index, true)));
  card.insertBefore(grid, $(".facts", card));
  if (faces.length < set.s) grid.after(make("p", `${set.s - faces.length} more in `, {class: "note rest"},
    make("a", set.f, {href: set.f + "/"})));
}
/* The faceset that one is at */
let here = null;
function mark(card) {
  if (here) here.classList.remove("here");
  here = card;
  wake(card);
  card.classList.add("here");
}
function goTo(card) {
  mark(card);
  card.focus({preventScroll: true});
  card.scrollIntoView({block: "nearest"});
}
function step(by) {
  const visible = cards.filter(card => !card.hidden);
  if (!visible.length) return;
  const at = visible.indexOf(here);
  goTo(visible[Math.max(0, Math.min(visible.length - 1, at < 0 ? 0 : at + by))]);
}
