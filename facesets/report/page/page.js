/* Start */
$(".bar").hidden = false;
for (const id of ["q", "show", "user"]) if ($("#" + id)) $("#" + id).addEventListener("input", filter);
$("#sort").addEventListener("input", sort);
$(".bar").addEventListener("submit", event => event.preventDefault());
$("#keys").addEventListener("click", () => help.show());
$("#clear").addEventListener("click", () => { clear(); $("#q").focus(); });
holder.addEventListener("focusin", event => {
  const card = event.target.closest(".card");
  if (card && card !== here) mark(card);
});
holder.addEventListener("click", event => {
  const card = event.target.closest(".card");
  if (card && !event.target.closest("a, button, input")) goTo(card);
});
const near = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) { wake(entry.target); near.unobserve(entry.target); }
}, {rootMargin: "400px"});
for (const card of cards) near.observe(card);
addEventListener("hashchange", show);
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")
      || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const key = event.key;
  if (key === "?") help.show();
  else if ($("#facesets").hidden) return;
  else if (key === "/") { $("#q").focus(); $("#q").select(); }
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else return;
  event.preventDefault();
});
filter();
show();
