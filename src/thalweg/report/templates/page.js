// Draws the figures in the page's own fonts and colours, and again when those or the width change.
(() => {
  "use strict";
  const plots = [...document.querySelectorAll(".plot")];
  const state = { figures: plots.length, drawn: 0, errors: [] };
  window.thalweg = state;
  const root = document.documentElement;
  const finger = matchMedia("(pointer: coarse)").matches;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const COLORWAY = ["--blue", "--vermilion", "--green", "--purple", "--orange", "--grey"];

  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // "var(--blue)" anywhere in a figure is a colour of the page.
  function colored(value) {
    if (typeof value === "string") {
      return value.replace(/^var\((--[a-z-]+)\)$/, (_, name) => color(name));
    }
    if (Array.isArray(value)) return value.map(colored);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, colored(item)]));
  }

  function template() {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--quiet") };
    const axis = {
      gridcolor: color("--rule"), linecolor: color("--grey"), tickcolor: color("--grey"),
      zerolinecolor: color("--grey"), zeroline: false, automargin: true, exponentformat: "power",
      minexponent: 4, title: { font: { size: 12 } },
    };
    const scene = { ...axis, backgroundcolor: "rgba(0,0,0,0)", showbackground: false };
    const bar = { outlinewidth: 0, thickness: 12, title: { font: { size: 12 } } };
    const shaded = [{ colorscale: "Cividis", colorbar: bar }];
    return {
      layout: {
        font,
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        colorway: COLORWAY.map(color),
        colorscale: { sequential: "Cividis", diverging: "RdBu" },
        margin: { l: 4, r: 16, t: 8, b: 4 },
        xaxis: { ...axis, showgrid: false, showline: true, ticks: "outside", ticklen: 4, autotickangles: [0, -45, -90] },
        yaxis: axis,
        scene: { xaxis: scene, yaxis: scene, zaxis: scene },
        hovermode: "closest",
        hoverlabel: {
          bgcolor: color("--page"), bordercolor: color("--grey"), align: "left",
          font: { family: font.family, size: 12, color: color("--text") },
        },
        annotationdefaults: { font: { color: color("--text") }, arrowcolor: color("--grey"), arrowwidth: 1 },
        shapedefaults: { line: { color: color("--grey"), width: 1 } },
      },
      data: { heatmap: shaded, contour: shaded, surface: shaded },
    };
  }

  const config = {
    displayModeBar: false, displaylogo: false, showTips: false, showSendToCloud: false, showLink: false,
    plotlyServerURL: "", scrollZoom: false, doubleClick: "reset", responsive: false,
  };

  // Plotly ignores titles that are mere strings.
  function mendAxes(layout, data) {
    for (const [key, axis] of Object.entries(layout)) {
      if (!/^[xy]axis\d*$/.test(key)) continue;
      const title = typeof axis.title === "string" ? { text: axis.title } : axis.title;
      if (title) axis.title = { standoff: 8, ...title };
      if (axis.type === "log") mendTicks(axis, decadesOf(key, axis, data));
    }
  }

  // Plotly writes powers of ten a quarter too large, and the digits between them too small to read:
  // over two decades or more powers stand alone, and below that all numbers are written out.
  function mendTicks(axis, decades) {
    const isSet = axis.dtick ?? axis.tickvals ?? axis.tickformat;
    if (isSet === undefined && decades >= 2) axis.dtick = Math.ceil(decades / 7);
    else if (isSet === undefined) Object.assign(axis, { tickformat: "~g" }, decades > 1 && { dtick: "D2" });
    if (typeof axis.dtick === "number") axis.tickfont = { size: 10, ...axis.tickfont };
  }

  function decadesOf(key, axis, data) {
    if (axis.range) return Math.abs(axis.range[1] - axis.range[0]);
    const letter = key[0], name = key.replace("axis", "");
    const traces = data.filter((trace) => (trace[`${letter}axis`] ?? letter) === name);
    const values = traces.flatMap((trace) => trace[letter] ?? []).filter((value) => value > 0);
    const least = values.reduce((a, b) => Math.min(a, b), Infinity);
    const most = values.reduce((a, b) => Math.max(a, b), 0);
    return most ? Math.log10(most / least) : 0;
  }

  // Titles of a single pair of axes stand in the page, where they wrap as text does.
  function moveTitle(layout, axis, place) {
    const text = layout[axis]?.title?.text;
    const isAlone = !Object.keys(layout).some((key) => /^([xy]axis\d|scene|polar)/.test(key));
    if (!text || !isAlone || text.includes("<")) return;
    place.textContent = plain(text);
    delete layout[axis].title;
  }

  const plain = (text) => String(text).replace(/<[^>]*>/g, "").replaceAll("&lt;", "<");

  // The legend stands in the page too; its buttons hide and show lines.
  const groupOf = (trace) => trace.legendgroup || trace.name;

  function fillLegend(plot, place, data, layout) {
    const isListed = (trace) => trace.name && trace.showlegend !== false && (!trace.z || trace.type === "scatter3d");
    if (!(layout.showlegend ?? data.length > 1)) return;
    data.forEach((trace, number) => {
      if (!isListed(trace)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.innerHTML = sample(trace);
      button.firstChild.style.color = inkOf(trace) ?? `var(${COLORWAY[number % COLORWAY.length]})`;
      button.append(plain(trace.name));
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => toggle(plot, button, groupOf(trace)));
      place.append(button);
    });
  }

  const inkOf = (trace) => [trace.line?.color, trace.marker?.color].find((c) => typeof c === "string");

  function sample(trace) {
    const hasLine = trace.mode ? trace.mode.includes("lines") : (trace.type ?? "scatter").startsWith("scatter");
    const hasDot = trace.mode?.includes("markers");
    const dash = { dash: "6 4", dot: "2 3", dashdot: "6 3 2 3" }[trace.line?.dash] ?? "";
    const stroke = `<path d="M0 5h24" stroke-width="2" stroke-dasharray="${dash}"/>`;
    const box = '<path class="box" d="M6 0h12v10H6z"/>';
    const shape = (hasLine ? stroke : hasDot ? "" : box) + (hasDot ? dot(trace.marker?.symbol) : "");
    return `<svg viewBox="0 0 24 10" aria-hidden="true">${shape}</svg>`;
  }

  // A marker as Plotly draws it, in a field of 24 × 10; what has no drawing here is a disc.
  const MARKERS = {
    square: "M9 2h6v6H9z",
    diamond: "M12 .5 16.5 5 12 9.5 7.5 5z",
    cross: "M10.8 1h2.4v2.8H16v2.4h-2.8V9h-2.4V6.2H8V3.8h2.8z",
    x: "M9 2l6 6M15 2l-6 6",
    "triangle-up": "M12 1l4 7.5H8z",
  };

  function dot(symbol) {
    const name = typeof symbol === "string" ? symbol : "circle";
    const path = MARKERS[name.replace(/-open$/, "")];
    if (!path) return '<circle cx="12" cy="5" r="3.5"/>';
    const style = name.endsWith("-open") ? ' fill="none" stroke-width="1.5"' : name === "x" ? ' stroke-width="2"' : ' stroke="none"';
    return `<path d="${path}"${style}/>`;
  }

  function toggle(plot, button, group) {
    if (!plot.hides.delete(group)) plot.hides.add(group);
    button.setAttribute("aria-pressed", String(!plot.hides.has(group)));
    draw(plot);
  }

  function visible(plot, data) {
    return data.map((trace) => (plot.hides.has(groupOf(trace)) ? { ...trace, visible: "legendonly" } : trace));
  }

  // What is said once, before the first drawing: titles and legend.
  function prepare(plot) {
    const figure = plot.parentElement;
    const { data, layout, height } = JSON.parse(figure.querySelector("script").textContent);
    mendAxes(layout, data);
    moveTitle(layout, "yaxis", figure.querySelector(".axis-y"));
    moveTitle(layout, "xaxis", figure.querySelector(".axis-x"));
    fillLegend(plot, figure.querySelector(".legend"), data, layout);
    return { spec: { data, layout, height }, hides: new Set() };
  }

  async function draw(plot, paperWidth) {
    const width = paperWidth ?? plot.clientWidth;
    if (!width || plot.failed) return; // inside a closed section: drawn when that opens
    try {
      if (!plot.spec) Object.assign(plot, prepare(plot));
      const { data, layout, height } = colored(plot.spec);
      const drag = { dragmode: finger ? false : "zoom" };
      const fixed = { template: template(), width, height, showlegend: false };
      plot.drawnWidth = width;
      await Plotly.react(plot, visible(plot, data), { ...drag, ...layout, ...fixed }, config);
      // Plotly measures letters in a drawing off the page, which nobody should be read.
      document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
      if (plot.querySelector(".no-webgl")) throw new Error("this browser has no WebGL");
      plot.drawnScheme = dark.matches && !root.dataset.paper;
      if (!plot.isDrawn) state.drawn += 1;
      plot.isDrawn = true;
    } catch (error) {
      fail(plot, error);
    }
  }

  function fail(plot, error) {
    state.errors.push(String(error));
    plot.failed = true;
    plot.removeAttribute("role");
    plot.innerHTML = '<p class="failed">This picture could not be drawn: </p>';
    plot.firstChild.append(plot.getAttribute("aria-label"));
  }

  async function drawAll(width) {
    for (const plot of plots) await draw(plot, width);
  }

  function watch() {
    const watcher = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        if (!root.dataset.paper && target.clientWidth !== target.drawnWidth) draw(target);
      }
    });
    plots.forEach((plot) => watcher.observe(plot));
    dark.addEventListener("change", () => drawAll());
  }

  // On paper: light colours, all sections open, figures as wide as the sheet.
  let opened = [];
  addEventListener("beforeprint", () => {
    root.dataset.paper = "yes";
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => (details.open = true));
    plots.forEach((plot) => draw(plot, 640));
  });
  addEventListener("afterprint", () => {
    delete root.dataset.paper;
    opened.forEach((details) => (details.open = false));
    drawAll();
  });

  // A link to a closed section opens it.
  function openTarget() {
    const details = document.getElementById(location.hash.slice(1))?.querySelector(":scope > details");
    if (details) details.open = true;
  }
  addEventListener("hashchange", openTarget);
  openTarget();

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no leave to copy: the reader presses the keys
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  document.querySelectorAll(".copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  });

  drawAll().then(watch);
})();
