/* Dialogs: a face in large, and the keys. */
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
    this.box.body.append(this.image, this.words, make("p", "", {class: "acts"},
      button("Previous", () => this.step(-1)), button("Next", () => this.step(1)),
      button("Close", () => this.box.close())));
    this.box.node.addEventListener("keydown", event => {
      if (event.key === "ArrowLeft") this.step(-1); else if (event.key === "ArrowRight") this.step(1); else return;
      event.preventDefault(); event.stopPropagation();
    });
  },
  step(by) { const count = facesOf(this.set).length; this.at = (this.at + by + count) % count; this.draw(); },
  draw() {
    const item = facesOf(this.set)[this.at];
    this.box.heading.textContent = label(this.set);
    this.image.src = this.set.f + "/" + item.file;
    this.image.alt = `Face ${item.rank} of ${label(this.set)}`;
    this.words.textContent = [
      `face ${item.rank} of ${this.set.s}`, item.year || "no date", item.user && "from " + item.user,
      `quality ${item.quality.toFixed(2)}`, `${item.distance.toFixed(2)} from the middle`,
    ].filter(Boolean).join(" · ");
  },
};
const help = dialog("help", "Keys");
const KEYS = [["j, k", "next, previous faceset"], ["/", "search"], ["?", "these keys"]];
help.body.append(
  make("dl", "", {class: "keys"}, ...KEYS.flatMap(([key, words]) =>
    [make("dt", "", {}, make("kbd", key)), make("dd", words)])),
  make("p", "", {class: "acts"}, button("Close", () => help.close())));
