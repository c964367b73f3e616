"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.querySelector(".filters");
  const [head, body] = ["thead", "tbody"].map((part) => document.querySelector(".episodes " + part));
  const more = document.querySelector(".more"), PAGE = 50;
  let shown = PAGE;

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const choose = (name, pairs) => {
    for (const [value, text] of pairs) {
      const option = make("option", text);
      option.value = value;
      form.elements[name].append(option);
    }
  };
  choose("task", data.tasks.map((task, index) => [index, task]));
  choose("solved", [...Array(data.longest + 1).keys()].map((n) => [n, n]).concat([[-1, "error"]]));

  const row = make("tr");
  row.append(make("th", "episode"), make("th", "scene"));
  for (const name of data.sets) row.append(make("th", data.sets.length > 1 ? name : "solved in a row"));
  if (data.sets.length === 1) row.append(make("th", "attempted (steps)"));
  head.append(row);

  const clips = data.clips.map((names) => new Set(names));
  const chain = (record, set, episode) => {
    const box = make("span", undefined, "chain");
    if (!record) { box.append(make("small", "not run")); return box; }
    const [length, tried, message] = record;
    for (let place = 0; place < data.longest; place++) {
      const one = tried[place];
      const seen = one && place === tried.length - 1 && clips[set].has(episode);
      const pip = make(seen ? "a" : "i", undefined, one ? (one[1] ? "solved" : "failed") : "");
      if (seen) { pip.href = `#clip-${set}-${episode}`; pip.setAttribute("aria-label", `clip of ${episode}`); }
      if (one) pip.title = `${data.tasks[one[0]]}: ${one[1] ? "solved" : "failed"} after ${one[2]} steps`;
      box.append(pip);
    }
    box.append(length < 0 ? make("em", "error") : make("b", length));
    if (message) box.title = message;
    return box;
  };

  const fits = ([name, scene, ...records], wanted) => {
    const there = records.filter(Boolean);
    if (wanted.find) {
      const text = [name, scene, ...there.flatMap((r) => r[1].map((one) => data.tasks[one[0]]))].join(" ");
      if (!wanted.find.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word))) return false;
    }
    if (wanted.task !== "" && !there.some((r) => r[1].some((one) => one[0] === +wanted.task))) return false;
    if (wanted.solved !== "" && !there.some((r) => r[0] === +wanted.solved)) return false;
    if (wanted.show) {
      const first = records[0];
      if (!first || first[0] < 0) return false;
      const rest = records.slice(1).filter((r) => r && r[0] >= 0).map((r) => r[0] - first[0]);
      return rest.some((d) => (wanted.show === "differ" ? d !== 0 : wanted.show === "better" ? d > 0 : d < 0));
    }
    return true;
  };

  const draw = () => {
    const wanted = Object.fromEntries(["find", "task", "solved", "show"].map((name) => [name, form.elements[name]?.value.trim() ?? ""]));
    const found = data.episodes.filter((episode) => fits(episode, wanted));
    body.replaceChildren(...found.slice(0, shown).map((episode) => {
      const line = make("tr"), records = episode.slice(2), name = make("td"), link = make("a", episode[0]);
      link.href = `#episode=${episode[0]}`;
      name.append(link);
      line.append(name, make("td", episode[1]));
      records.forEach((record, set) => {
        const cell = make("td");
        cell.append(chain(record, set, episode[0]));
        line.append(cell);
      });
      if (records.length === 1) {
        const cell = make("td", undefined, "tried");
        (records[0]?.[1] ?? []).forEach((one, place) => {
          if (place) cell.append(", ");
          cell.append(make("span", `${data.tasks[one[0]]} (${one[2]})`, one[1] ? "" : "failed"));
        });
        if (records[0]?.[2]) cell.append(records[0][2]);
        line.append(cell);
      }
      return line;
    }));
    form.querySelector("output").textContent = `${found.length} of ${data.episodes.length}`;
    more.hidden = found.length <= shown;
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { shown = PAGE; draw(); });
  more.addEventListener("click", () => { shown += 200; draw(); });
  draw();

  // "#episode=seq-0042" finds that episode; whoever is sent the address sees it at once.
  const follow = () => {
    if (!location.hash.startsWith("#episode=")) return;
    form.reset();
    form.elements.find.value = decodeURIComponent(location.hash.slice("#episode=".length));
    shown = PAGE;
    draw();
    document.getElementById("episodes").scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {  // a page opened as a file may not write there: the text is marked, Ctrl-C does the rest
        getSelection().selectAllChildren(code);
        button.textContent = "marked";
      }
      setTimeout(() => { button.textContent = "copy"; }, 2000);
    });
  }

  // On paper nothing stays folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
})();
