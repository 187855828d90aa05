/* Dialogs: a face in large, whom to merge with, the file of decisions, the keys. */
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
