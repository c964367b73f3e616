"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.querySelector(".filters"), plots = document.getElementById("plots");
  const card = document.querySelector(".point"), keys = document.querySelector(".keys");
  const [EPISODE, FRAME, TASK, SCENE, INSTRUCTION, SUCCESS, POSITION, PICTURE] = [...Array(8).keys()];
  const SVG = "http://www.w3.org/2000/svg", REACH = 60;

  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const draw = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const option = (value) => { const found = make("option", value); found.value = value; return found; };

  const OUTCOMES = ["failed", "solved", "unknown"];
  const outcome = (point) => (point[SUCCESS] < 0 ? 2 : point[SUCCESS]);
  const hue = (place, n) => `oklch(${place % 2 ? 0.62 : 0.72} 0.15 ${Math.round(25 + 360 * place / n)})`;
  const few = (place) => `var(--c${place % 6})`;
  const colours = {
    task: [data.words.task, (point) => point[TASK]],
    scene: [data.words.scene, (point) => point[SCENE]],
    success: [OUTCOMES, outcome],
    progress: [null, (point) => point[POSITION]],
  };
  const paint = (kind, value) => {
    if (kind === "progress") return `color-mix(in oklab, var(--c0), var(--c1) ${Math.round(100 * value)}%)`;
    if (kind === "success") return ["var(--bad)", "var(--good)", "var(--soft)"][value];
    const n = colours[kind][0].length;
    return n > 6 ? hue(value, n) : few(value);
  };

  for (const method of Object.keys(data.maps)) form.elements.method.append(option(method));
  for (const kind of Object.keys(colours)) {
    if (kind === "scene" && new Set(data.points.map((point) => point[SCENE])).size < 2) continue;
    if (kind === "success" && data.points.every((point) => point[SUCCESS] < 0)) continue;
    form.elements.colour.append(option(kind));
  }
  if (!form.elements.method.options.length) { form.hidden = true; return; }

  let here = -1, only = null, panels = [];
  const said = (point) => `${data.words.task[point[TASK]]}, episode ${point[EPISODE]}, frame ${point[FRAME]}`;

  const show = (index) => {
    here = index;
    for (const panel of panels) {
      panel.querySelector(".here")?.classList.remove("here");
      if (index < 0) continue;
      const dot = panel.dots[index];
      dot.classList.add("here");
      dot.parentNode.append(dot);
    }
    if (index < 0) return;
    card.classList.add("told");
    const point = data.points[index], text = make("p");
    text.append(make("b", data.words.task[point[TASK]]));
    if (point[INSTRUCTION] >= 0) text.append(`“${data.words.instruction[point[INSTRUCTION]]}”`, make("br"));
    const facts = [`episode ${point[EPISODE]}`, `frame ${point[FRAME]}`, `${Math.round(100 * point[POSITION])} % of the way`];
    if (data.words.scene[point[SCENE]] !== "?") facts.push(`scene ${data.words.scene[point[SCENE]]}`);
    if (point[SUCCESS] >= 0) facts.push(OUTCOMES[point[SUCCESS]]);
    text.append(make("small", facts.join(" · ")));
    card.replaceChildren(text);
    if (point[PICTURE]) {
      const picture = make("img");
      picture.alt = `what the policy saw: ${said(point)}`;
      picture.src = `data:image/jpeg;base64,${point[PICTURE]}`;
      card.prepend(picture);
    }
  };

  const recolour = () => {
    const kind = form.elements.colour.value, [words, of] = colours[kind];
    for (const panel of panels) {
      panel.dots.forEach((dot, index) => {
        const value = of(data.points[index]);
        dot.style.fill = paint(kind, value);
        dot.classList.toggle("away", only !== null && value !== only);
      });
    }
    keys.replaceChildren();
    if (!words) {
      keys.append("beginning", make("span", undefined, "ramp"), "end of the episode");
      return;
    }
    words.forEach((word, value) => {
      const n = data.points.filter((point) => of(point) === value).length;
      if (!n) return;
      const button = make("button"), dot = make("i", undefined, "dot");
      dot.style.background = paint(kind, value);
      button.type = "button";
      button.append(dot, word, "\u00a0", make("small", n));
      button.setAttribute("aria-pressed", only === value);
      button.addEventListener("click", () => { only = only === value ? null : value; recolour(); });
      keys.append(button);
    });
  };

  const nearest = (places, x, y, allowed = () => true) => {
    let best = -1, least = Infinity;
    places.forEach(([px, py], index) => {
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least && allowed(px - x, py - y, index)) [best, least] = [index, far];
    });
    return [best, Math.sqrt(least)];
  };
  const ARROWS = {
    ArrowLeft: (dx, dy) => dx < 0 && Math.abs(dy) <= -dx, ArrowRight: (dx, dy) => dx > 0 && Math.abs(dy) <= dx,
    ArrowUp: (dx, dy) => dy < 0 && Math.abs(dx) <= -dy, ArrowDown: (dx, dy) => dy > 0 && Math.abs(dx) <= dy,
  };

  const lay = () => {
    const maps = data.maps[form.elements.method.value];
    panels = maps.map((places, model) => {
      const figure = make("figure"), caption = make("figcaption");
      if (maps.length > 1) { caption.append(make("i", undefined, `dot s${model % 6}`), data.names[model]); figure.append(caption); }
      const svg = draw("svg", {
        viewBox: "0 0 1000 1000", tabindex: 0, role: "application",
        "aria-label": `${form.elements.method.value} of ${places.length} frames of ${data.names[model]}; the arrow keys go from point to point`,
      });
      svg.dots = places.map(([x, y]) => {
        const dot = draw("circle", { cx: x, cy: y, r: places.length > 900 ? 9 : 12 });
        svg.append(dot);
        return dot;
      });
      const look = (event) => {
        const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        const [index, far] = nearest(places, at.x, at.y, (_x, _y, i) => !svg.dots[i].classList.contains("away"));
        if (index >= 0 && far < REACH) show(index);
      };
      svg.addEventListener("pointermove", look);
      svg.addEventListener("pointerdown", look);
      svg.addEventListener("focus", () => { if (here < 0) show(0); });
      svg.addEventListener("keydown", (event) => {
        if (!(event.key in ARROWS) || here < 0) return;
        event.preventDefault();
        const [x, y] = places[here];
        const [index] = nearest(places, x, y, (dx, dy, i) => ARROWS[event.key](dx, dy) && !svg.dots[i].classList.contains("away"));
        if (index >= 0) show(index);
      });
      figure.append(svg);
      return Object.assign(figure, { dots: svg.dots });
    });
    plots.replaceChildren(...panels);
    recolour();
    show(here);
  };

  card.hidden = false;
  card.append(make("p", "Point at a frame, tap it, or go from one to the next with the arrow keys."));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.method.addEventListener("input", lay);
  form.elements.colour.addEventListener("input", () => { only = null; recolour(); });
  lay();

  // On paper nothing stays folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
})();
