"use strict";
// Zoom, pan and tips over the drawing that is there already: it is whole without this.
(() => {
  const svg = document.querySelector("svg");
  const tip = document.getElementById("tip");
  const number = (element, name) => Number(element.dataset[name]);
  const left = number(svg, "x"), width = number(svg, "width"), end = number(svg, "end");
  const top = number(svg, "top"), bottom = number(svg, "bottom");
  let from = 0, to = end;

  const x = (at) => left + ((at - from) / (to - from)) * width;
  const words = (at) => {
    const fine = to - from;
    const digits = (unit) => Math.max(0, Math.ceil(Math.log10((unit * 8) / fine)));
    if (at === 0) return "0";
    if (fine < 4e3) return at.toFixed(0) + " \u00b5s";
    if (fine < 1e6) return (at / 1e3).toFixed(digits(1e3)) + " ms";
    return (at / 1e6).toFixed(digits(1e6)) + " s";
  };
  const text = document.createElement("canvas").getContext("2d");
  text.font = "12px system-ui, sans-serif";
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  const scale = svg.querySelector(".scale");
  const drawScale = () => {
    scale.replaceChildren();
    let step = 10 ** Math.floor(Math.log10((to - from) / 10));
    for (const factor of [2, 2.5, 2]) if ((to - from) / step > 12) step *= factor;
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const place = x(at);
      scale.append(make("path", { class: "tick", d: `M${place} ${top - 4} V${bottom}` }));
      const label = make("text", { class: "ticks", x: Math.max(place, left + 18), y: top - 9 });
      label.textContent = words(at);
      scale.append(label);
    }
  };
  const place = (element) => {
    const a = x(number(element, "a")), b = x(number(element, "b"));
    if (element.tagName === "rect") {
      element.setAttribute("x", a);
      element.setAttribute("width", Math.max(b - a, 1.6));
    } else if (element.tagName === "circle") {
      element.setAttribute("cx", a);
    } else if (element.tagName === "text" && element.classList.contains("inside")) {
      const begin = Math.max(a, left), room = Math.min(b, left + width) - begin - 12;
      const fits = [element.dataset.full, element.dataset.short];
      element.textContent = fits.find((words) => text.measureText(words).width < room) ?? "";
      element.setAttribute("x", begin + 6);
    } else if (element.tagName === "text") {
      element.setAttribute("x", element.getAttribute("text-anchor") === "end" ? a - 9 : a + 9);
    } else {
      const y0 = number(element, "y0"), y1 = number(element, "y1"), down = Math.sign(y1 - y0);
      element.setAttribute("d", b - a > 14
        ? `M${a} ${y0} V${y1 - down * 7} Q${a} ${y1} ${a + 7} ${y1} H${b}`
        : `M${b} ${y0} V${y1 - down * number(element, "half")}`);
    }
  };
  const moving = svg.querySelectorAll("[data-a]");
  const draw = () => { drawScale(); moving.forEach(place); };
  const look = (begin, length) => {
    length = Math.min(Math.max(length, 20), end);
    from = Math.min(Math.max(begin, 0), end - length);
    to = from + length;
    draw();
  };
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return from + ((point.x - left) / width) * (to - from);
  };

  svg.addEventListener("wheel", (event) => {
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      look(from + ((event.deltaX || event.deltaY) / 800) * (to - from), to - from);
    } else {
      const still = at(event), factor = Math.exp(event.deltaY / 400);
      look(still - (still - from) * factor, (to - from) * factor);
    }
    event.preventDefault();
  }, { passive: false });
  let held = null;
  svg.addEventListener("pointerdown", (event) => { held = at(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointerup", () => { held = null; });
  svg.addEventListener("pointermove", (event) => {
    if (held !== null) look(from + held - at(event), to - from);
  });
  svg.addEventListener("dblclick", () => look(0, end));
  for (const button of document.querySelectorAll("button")) {
    button.addEventListener("click", () => look(0, number(button, "until")));
  }
  document.addEventListener("keydown", (event) => {
    const step = (to - from) / 5;
    if (event.key === "ArrowLeft") look(from - step, to - from);
    else if (event.key === "ArrowRight") look(from + step, to - from);
    else if (event.key === "+") look(from + step, to - from - 2 * step);
    else if (event.key === "-") look(from - step, to - from + 2 * step);
    else if (event.key === "0") look(0, end);
  });

  for (const title of svg.querySelectorAll("[data-a] > title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }
  svg.addEventListener("pointermove", (event) => {
    const over = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-tip]");
    tip.hidden = !over;
    const row = over?.dataset.row;
    svg.classList.toggle("chosen", row !== undefined);
    for (const arrow of svg.querySelectorAll(".wait[data-a]")) {
      arrow.classList.toggle("touched", arrow.dataset.from === row || arrow.dataset.to === row);
    }
    if (!over) return;
    tip.textContent = over.dataset.tip;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; svg.classList.remove("chosen"); });
  draw();
})();
