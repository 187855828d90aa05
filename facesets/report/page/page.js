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
