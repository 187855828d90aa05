"use strict";
/* One question at a time. Every answer goes to the server at once; what it replies is what is shown. */
const picture = (face, alt) => make("img", "", {src: "face/" + face, width: 160, height: 160, alt});
const FIRST = 40, FEW = 6;      // faces that are shown at once; beside a look-alike that has to fit on a phone, too
let now = null, out = new Set(), all = false, busy = false, at = 0;

const ended = () => "The review has ended. What you said is kept. Start it again: python sort_faces.py review"
  + (now ? now.folders : "");
const read = reply => reply.json().catch(() => ({problem: "The review refused this. Open the link that it printed."}));
/* What is so now; a reply that an answer has overtaken tells nothing */
async function look() {
  try {
    const told = await read(await fetch("now"));
    if (told.version === undefined) problem(told.problem);
    else if (!busy && !(now && told.version < now.version)) draw(told);
  } catch { problem(ended()); }
}
async function ask(path, body) {
  if (busy) return;
  busy = true;
  try {
    const headers = {"Content-Type": "application/json"};
    const reply = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
    const told = await read(reply);
    busy = false;       // before it is drawn: who sees it may answer it
    if (reply.status === 409) { draw(told); toast("That changed elsewhere meanwhile; look again.", false); }
    else if (told.problem !== undefined && told.version === undefined) problem(told.problem);
    else { draw(told); if (told.said) toast(path === "undo" ? `Taken back: ${told.said}` : told.said,
        path !== "undo"); }
  } catch {
    problem(ended());
  } finally { busy = false; }
}
const post = (path, more = {}) => ask(path, {version: now.version, question: now.question && now.question.id, ...more});
/* With an answer about a faceset go the faces that were marked as somebody else */
const answer = value => post("answer", {answer: {out: [...out], ...value}});
function problem(text) { $("#problem").textContent = text; $("#problem").hidden = !text; }
function toast(text, undo) {
  $("#toast").replaceChildren(make("span", text), ...(undo ? [button("Undo", () => act.undo())] : []));
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("#toast").replaceChildren(), 8000);
}

/* What is shown */
const percent = share => (100 * Math.floor(share * 1000) / 1000).toFixed(1) + " %";
const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
function draw(told) {
  const same = now && told.question && now.question && now.question.id === told.question.id
      && now.question.count === told.question.count;
  now = told;
  if (!same) { out = new Set(); all = false; at = 0; }
  problem(told.problem);
  $("#outlook").replaceChildren(make("b", percent(told.right)), " of the faces are expected to lie right; ",
    told.left ? `${counted(told.left, "question")} until it is 99.5 %` : told.open ? "enough: the rest can wait"
        : "nothing is left to ask");
  $("#bar").value = told.right >= .995 ? 1 : Math.max(0, (told.right - .9) / .095);
  $("#behind").textContent = told.waiting ? `${counted(told.waiting, "answer")} being carried out`
      : `${counted(told.open, "question")} in all`;
  if (same && document.body.dataset.version === String(told.version)) return;
  document.body.classList.remove("merging");
  $("#doing").hidden = !told.question && !told.back;
  for (const node of document.querySelectorAll("[data-do]")) node.hidden = !allowed(node.dataset.do);
  $("#names").replaceChildren(...Object.keys(told.names).sort().map(value => make("option", "", {value})));
  if (told.question) drawQuestion(told.question); else drawEnd(told);
  for (const face of told.next) new Image().src = "face/" + face;
  document.body.dataset.version = told.version;
}
function drawEnd(told) {
  $("#asked").textContent = "Nothing is left to ask";
  $("#hint").textContent = "You may close this page. Everything you said is in the library; "
      + `sort_faces.py report${told.folders} shows it.`;
  $("#years").hidden = true; $("#more").hidden = true;
  $("#faces").replaceChildren(); $("#alike").replaceChildren();
}
const WORDS = {
  same: q => [`${q.title} and ${q.alike[0].title}: one person?`, "Same if they are one; else: Two people."],
  two: q => [`Is ${q.title} two people?`, `Split if the ${counted(q.suspects.length, "face")} with a border `
      + (q.suspects.length === 1 ? "is" : "are") + " somebody else; One person if all are the same."],
  faces: q => [`Is all of this ${q.title}?`,
      "Those least like the others come first. Mark who is somebody else, then Right."],
  name: q => [`Who is this: ${q.title}?`, "Nothing looks wrong here. Give a name, or say that it is right."],
  loose: q => [q.count === 1 ? "Whose face is this?" : `Whose are these ${q.count} faces?`,
      `In no faceset: ${q.reason}. Same puts ${q.count === 1 ? "it" : "them"} there; or leave ${
        q.count === 1 ? "it" : "them"} out.`],
};
const RIGHT = {same: "Two people", two: "One person", loose: "Leave out"};
function drawQuestion(q) {
  const [asked, hint] = WORDS[q.kind](q);
  $("#asked").textContent = asked;
  $("#hint").textContent = hint;
  drawYears(q.years);
  const suspects = new Set(q.kind === "two" ? q.suspects : []);
  const shown = all ? q.faces : q.faces.slice(0, q.kind === "same" && innerWidth < 830 ? FEW : FIRST);
  $("#faces").replaceChildren(...shown.map((face, index) => tile(q, face, index, suspects.has(face.id))));
  $("#more").hidden = shown.length === q.faces.length;
  $("#more").textContent = `Show all ${q.faces.length}`;
  $("[data-do=right] span").textContent = RIGHT[q.kind] || "Right";
  $("#alike").replaceChildren(...(q.alike.length ? [make("h3", "Look alike"),
      ...q.alike.map((other, index) => alike(q, other, index))] : []));
  $("#asked").focus({preventScroll: true});
  scrollTo(0, 0);
}
function drawYears(years) {
  const strip = $("#years"), known = Object.keys(years).map(Number);
  strip.hidden = known.length < 2;
  if (strip.hidden) return;
  const first = Math.min(...known), last = Math.max(...known), most = Math.max(...Object.values(years));
  strip.setAttribute("aria-label", `Faces from ${first} to ${last}`);
  const bars = Array.from({length: Math.min(last - first + 1, 90)}, (_, year) => {
    const bar = make("span");
    bar.style.height = `${Math.round(100 * (years[first + year] || 0) / most)}%`;
    return bar;
  });
  strip.replaceChildren(make("small", String(first)), ...bars, make("small", String(last)));
}
const numberOf = index => index < 10 ? String((index + 1) % 10) : "";
function tile(q, face, index, odd) {
  const words = [`Face ${index + 1}`, face.taken, face.user].filter(Boolean).join(", ");
  const pick = button("", () => toggle(index), {class: "pick", title: face.why},
      picture(face.id, words));
  if (q.kind !== "loose") pick.setAttribute("aria-pressed", String(out.has(face.id)));
  return make("div", "", {class: odd ? "tile odd" : "tile"}, pick,
      make("kbd", numberOf(index), {"aria-hidden": true, hidden: !numberOf(index)}),
    button("⌕", () => { at = index; photo.open(); },
        {class: "look", "aria-label": `The photo of face ${index + 1}`}));
}
function alike(q, other, index) {
  const asked = q.kind === "same" && index === 0;
  return make("div", "", {class: asked ? "other asked-about" : "other"},
    make("div", "", {class: "small"}, ...other.faces.map(face => picture(face, ""))),
    make("p", "", {}, make("span", `${other.title} `, {},
        make("small", `${counted(other.count, "face")}, ${other.distance.toFixed(2)} apart`)),
      button("", () => merge(index), {"aria-label": `The same person as ${other.title}`}, "Same ",
          make("kbd", `m ${index + 1}`))));
}
function toggle(index) {
  const q = now.question, face = q && q.faces[index];
  if (!face) return;
  at = index;
  if (q.kind === "loose") return;
  if (!out.delete(face.id)) out.add(face.id);
  const node = $("#faces").children[index];
  if (node) node.querySelector(".pick").setAttribute("aria-pressed", String(out.has(face.id)));
}

/* What can be said */
function allowed(what) {
  const q = now.question, faceset = q && q.kind !== "loose";
  return {right: q, later: q, photo: q, split: faceset, name: faceset, drop: faceset,
      promote: q && !faceset && q.count > 1, undo: now.back, keys: true}[what];
}
function merge(index) {
  const q = now.question, other = q && q.alike[index];
  document.body.classList.remove("merging");
  if (other) answer({do: q.kind === "loose" ? "this-is" : "merge", of: q.about, into: other.folder});
}
const act = {
  right() {
    const q = now.question;
    if (q.kind === "loose") answer({do: "leave", of: q.about});
    else if (q.kind === "same") answer({do: "two-people", of: q.about, other: q.alike[0].folder});
    else answer({do: "right", of: q.about});
  },
  split() {
    const q = now.question, faces = out.size ? [...out] : q.kind === "two" ? q.suspects : [];
    if (faces.length) answer({do: "split", of: q.about, faces});
    else problem("Mark the faces that are somebody else, then split.");
  },
  name() { naming.open(); },
  drop() { answer({do: "drop", of: now.question.about, ...(out.size === now.question.count && {out: []})}); },
  promote() { answer({do: "promote", of: now.question.about}); },
  later() { post("later"); },
  undo() { post("undo"); },
  photo() {
    const tile = document.activeElement.closest(".tile");
    if (tile) at = [...$("#faces").children].indexOf(tile);
    photo.open();
  },
  keys() { $("#keys").showModal(); },
};
const naming = {
  open() {
    const q = now.question;
    $("#name").value = q.name || q.proposed;
    this.look();
    $("#naming").showModal();
    $("#name").select();
  },
  text() { return $("#name").value.trim().replace(/\s+/g, " "); },
  other() { const folder = now.names[this.text()]; return folder && folder !== now.question.about ? folder : ""; },
  look() {
    const taken = this.other();
    $("#taken").textContent = !taken ? ""
        : `There is ${this.text()} already. Enter merges the two; Save keeps two of one name.`;
    $("#merge-name").hidden = !taken;
    $("#merge-name").textContent = `Merge with ${this.text()}`;
  },
  save() { const name = this.text(); $("#naming").close();
      if (name) answer({do: "name", of: now.question.about, name}); },
  merge() { const into = this.other(); $("#naming").close(); answer({do: "merge", of: now.question.about, into}); },
};
const photo = {
  open() { this.draw(); $("#photo").showModal(); },
  step(by) { at = (at + by + now.question.faces.length) % now.question.faces.length; this.draw(); },
  draw() {
    const face = now.question.faces[at];
    $("#whole").src = "photo/" + face.id;
    $("#whole").alt = `The photo of face ${at + 1}, with a box around it`;
    $("#photo-title").textContent = face.file;
    $("#facts").textContent = [face.taken || "no date", face.user && `from ${face.user}`,
        face.why].filter(Boolean).join(" · ");
    $("#immich").hidden = !face.link;
    if (face.link) $("#immich").href = face.link;
    $("#out").hidden = now.question.kind === "loose";
    $("#out").textContent = out.has(face.id) ? "It is this person" : "Somebody else";
  },
};

/* Keys, mouse, touch. A button that was clicked keeps no focus: the next Space answers */
addEventListener("click", event => {
  if (event.detail && !document.querySelector("dialog[open]")) $("#asked").focus({preventScroll: true});
}, true);
for (const node of document.querySelectorAll("[data-do]")) node.addEventListener("click",
    () => { if (!busy && allowed(node.dataset.do)) act[node.dataset.do](); });
for (const node of document.querySelectorAll("[data-close]")) node.addEventListener("click",
    () => node.closest("dialog").close());
$("#more").addEventListener("click", () => { all = true; drawQuestion(now.question); });
$("#name").addEventListener("input", () => naming.look());
$("#name").addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault();
    naming.other() ? naming.merge() : naming.save(); } });
$("#naming form").addEventListener("submit", event => { event.preventDefault(); naming.save(); });
$("#merge-name").addEventListener("click", () => naming.merge());
$("#before").addEventListener("click", () => photo.step(-1));
$("#after").addEventListener("click", () => photo.step(1));
$("#out").addEventListener("click", () => { toggle(at); photo.draw(); });
$("#photo").addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") photo.step(-1); else if (event.key === "ArrowRight") photo.step(1);
      else if (event.key === "p") $("#photo").close(); else return;
  event.preventDefault();
});
const KEYS = {" ": "right", s: "split", n: "name", d: "drop", f: "promote", b: "later", z: "undo", p: "photo",
    "?": "keys"};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || busy || !now || document.querySelector("dialog[open]")) return;
  const key = event.key, merging = document.body.classList.contains("merging");
  if (event.repeat && (KEYS[key] || /^[0-9m]$/.test(key))) return event.preventDefault();     // nobody saw what came up
  if (key === " " && event.target.closest && event.target.closest("button:focus-visible, a:focus-visible")) return;
  if (key === "Escape") $("#asked").focus({preventScroll: true});       // off a face, which Space would mark
  if (merging && /^[1-3]$/.test(key)) merge(Number(key) - 1);
  else if (key === "Escape" || key === "m") document.body.classList.toggle("merging",
      key === "m" && !merging && !!(now.question && now.question.alike.length));
  else if (/^[0-9]$/.test(key)) toggle((Number(key) + 9) % 10);
  else if (KEYS[key] && allowed(KEYS[key])) act[KEYS[key]]();
  else return;
  event.preventDefault();
});
addEventListener("focus", look);
look();
setInterval(() => { if (now && now.waiting) look(); }, 3000);
