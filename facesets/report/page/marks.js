"use strict";
/* What a person decided, kept in this browser, and the file of decisions that `sort_faces.py apply` carries out. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const SETS = new Map(DATA.sets.map(set => [set.f, set]));
const PLACE = "face-sets." + DATA.library;
const EMPTY = () => ({ok: {}, name: {}, merge: {}, drop: {}, not: {}, seen: {}});
const text = value => typeof value === "string" && value.length <= 100;
const faces = value => value && typeof value === "object" && Object.entries(value).every(([key, file]) => KEY.test(key) && text(file));
const KEY = /^([0-9a-f]{12}|[0-9a-f]{64}@-?\d+,-?\d+,-?\d+,-?\d+)$/;
const FITS = {ok: value => value === 1, name: text, merge: text, drop: value => value === 1, not: faces, seen: value => value === 1};
const marks = {
  now: EMPTY(), past: [], lost: false, listeners: [],
  load() {
    try {
      const kept = JSON.parse(localStorage.getItem(PLACE) || "null");
      for (const kind of Object.keys(this.now))
        for (const [name, value] of Object.entries((kept && kept[kind]) || {}))
          if (FITS[kind](value)) this.now[kind][name] = value;
    } catch { this.lost = true; }
    this.settle();
  },
  /* Forget what has been applied since, and what belongs to a faceset that is no more. */
  settle() {
    for (const kind of ["ok", "name", "merge", "drop", "not"])
      for (const folder of Object.keys(this.now[kind]))
        if (!SETS.has(folder)) delete this.now[kind][folder];
    for (const [folder, name] of Object.entries(this.now.name))
      if (SETS.get(folder).t === name) delete this.now.name[folder];
    for (const [folder, into] of Object.entries(this.now.merge))
      if (!SETS.has(into) || into in this.now.merge) delete this.now.merge[folder];
    for (const [folder, faces] of Object.entries(this.now.not)) {
      for (const key of Object.keys(faces))
        if (!key.includes("@") && SETS.get(folder).whole && !facesOf(SETS.get(folder)).some(face => face.key === key)) delete faces[key];
      if (!Object.keys(faces).length) delete this.now.not[folder];
    }
  },
  change(edit) {
    this.past.push(JSON.stringify(this.now));
    if (this.past.length > 300) this.past.shift();
    edit(this.now);
    this.keep();
  },
  undo() {
    if (!this.past.length) return false;
    this.now = JSON.parse(this.past.pop());
    this.keep();
    return true;
  },
  clear() { this.change(now => Object.assign(now, EMPTY())); },
  keep() {
    try { localStorage.setItem(PLACE, JSON.stringify(this.now)); this.lost = false; } catch { this.lost = true; }
    for (const listener of this.listeners) listener();
  },
  looked(folder) {
    const now = this.now;
    return folder in now.ok || folder in now.name || folder in now.merge || folder in now.drop;
  },
  ok(folder, on) { this.change(now => { if (on) { now.ok[folder] = 1; delete now.drop[folder]; delete now.merge[folder]; } else delete now.ok[folder]; }); },
  name(folder, name) { this.change(now => { if (name && name !== SETS.get(folder).t) now.name[folder] = name; else delete now.name[folder]; }); },
  drop(folder, on) { this.change(now => { if (on) { now.drop[folder] = 1; delete now.ok[folder]; delete now.merge[folder]; } else delete now.drop[folder]; }); },
  merge(folder, into) {
    this.change(now => {
      delete now.merge[folder];
      if (!into) return;
      into = this.end(into);
      if (into === folder) return;
      now.merge[folder] = into;
      delete now.ok[folder]; delete now.drop[folder]; delete now.drop[into];
      for (const [other, target] of Object.entries(now.merge)) if (target === folder) now.merge[other] = into;
    });
  },
  end(folder) { while (folder in this.now.merge) folder = this.now.merge[folder]; return folder; },
  not(folder, key, file, on) {
    this.change(now => {
      const faces = now.not[folder] = now.not[folder] || {};
      if (on) faces[key] = file; else delete faces[key];
      if (!Object.keys(faces).length) delete now.not[folder];
    });
  },
  notAll(folder, list, on) {
    this.change(now => {
      const faces = now.not[folder] = now.not[folder] || {};
      for (const [key, file] of list) if (on) faces[key] = file; else delete faces[key];
      if (!Object.keys(faces).length) delete now.not[folder];
    });
  },
  seen(id, on) { this.change(now => { if (on) now.seen[id] = 1; else delete now.seen[id]; }); },
  isNot(folder, key) { return key in (this.now.not[folder] || {}); },
  decisions() {
    const now = this.now, list = [];
    for (const [faceset, faces] of Object.entries(now.not).sort())
      for (const [face, file] of Object.entries(faces).sort()) list.push({do: "not-this", faceset, face, file});
    for (const [faceset, name] of Object.entries(now.name).sort()) list.push({do: "name", faceset, name, was: SETS.get(faceset).t});
    for (const [faceset, into] of Object.entries(now.merge).sort()) list.push({do: "merge", faceset, into});
    for (const faceset of Object.keys(now.drop).sort()) list.push({do: "drop", faceset});
    return list;
  },
  file() {
    return JSON.stringify({schema: 1, library: DATA.library, made: new Date().toISOString(), decisions: this.decisions()}, null, 1) + "\n";
  },
};
/* Twelve bytes a face: 6 name it, 2 its number, then quality, distance to the centroid, year since 1900 and user. */
function facesOf(set) {
  if (set.list) return set.list;
  const bytes = Uint8Array.from(atob(set.k), char => char.charCodeAt(0));
  set.list = [];
  for (let at = 0; at < bytes.length; at += 12) {
    const key = Array.from(bytes.subarray(at, at + 6), byte => byte.toString(16).padStart(2, "0")).join("");
    const rank = bytes[at + 6] * 256 + bytes[at + 7];
    set.list.push({key, file: String(rank).padStart(4, "0") + ".png", rank, quality: bytes[at + 8] / 255, distance: bytes[at + 9] / 127.5,
      year: bytes[at + 10] ? 1900 + bytes[at + 10] : 0, user: DATA.users[bytes[at + 11]] || ""});
  }
  return set.list;
}
