// All images of a job side by side: one view, one colour scale, contours, crosshair, beam.
"use strict";

(() => {
  const STRETCHES = {
    linear: (part) => part,
    sqrt: (part) => Math.sqrt(part),
    asinh: (part) => Math.asinh(10 * part) / Math.asinh(10),
    log: (part) => Math.log10(1 + 999 * part) / 3,
  };
  const BLANK = [201, 206, 214];
  const CROSS = new ol.style.Style({stroke: new ol.style.Stroke({color: "#2ee6e6", width: 1.3})});
  const CURSOR = new ol.style.Style({stroke: new ol.style.Stroke({color: "rgba(255,255,255,0.75)", width: 1, lineDash: [4, 4]})});
  const LINE = [["#fff", 1.1], ["#fff", 1.1]].map(([color, width]) => new ol.style.Style({stroke: new ol.style.Stroke({color, width})}));
  const NEGATIVE = new ol.style.Style({stroke: new ol.style.Stroke({color: "#fff", width: 1, lineDash: [3, 3]})});

  const state = {low: 0, high: 1, colours: "inferno", stretch: "linear", contours: "", levels: "4, 8, 16, 32"};
  let tables = {};
  let panels = [];
  let view;
  let whole;

  async function pixelsOf(image) {
    const answer = await fetch(image.links.pixels);
    if (!answer.ok) throw new Error((await answer.json()).error);
    const bytes = new DataView(await answer.arrayBuffer());
    const pixels = new Float32Array(bytes.byteLength / 4);
    for (let i = 0; i < pixels.length; i += 1) pixels[i] = bytes.getFloat32(4 * i, true);
    return pixels;
  }

  // Where an image lies in the pixels of the first: its own pixels, wherever both have one grid.
  function extentOf(sky, shape, first) {
    const [ny, nx] = shape;
    if (!sky.known || !first.known) return [0, 0, nx, ny];
    const corner = (x, y) => {
      const place = sky.toSky(x - 0.5, y - 0.5);
      return place === null ? [x, y] : first.toPixel(...place).map((value) => value + 0.5);
    };
    const [low, high] = [corner(0, 0), corner(nx, ny)];
    return [...low, ...high];
  }

  function paint(panel) {
    const [ny, nx] = panel.image.shape;
    const context = panel.canvas.getContext("2d");
    const picture = context.createImageData(nx, ny);
    const table = tables[state.colours];
    const stretch = STRETCHES[state.stretch];
    const steps = new Uint8Array(1024);
    for (let i = 0; i < 1024; i += 1) steps[i] = Math.round(255 * Math.min(1, Math.max(0, stretch(i / 1023))));
    const scale = 1023 / (state.high - state.low);
    for (let row = 0; row < ny; row += 1) {
      for (let column = 0; column < nx; column += 1) {
        const value = panel.pixels[row * nx + column];
        const at = 4 * ((ny - 1 - row) * nx + column);
        if (Number.isNaN(value)) {
          picture.data.set(BLANK, at);
        } else {
          const step = 3 * steps[Math.min(1023, Math.max(0, Math.round((value - state.low) * scale)))];
          picture.data[at] = table[step];
          picture.data[at + 1] = table[step + 1];
          picture.data[at + 2] = table[step + 2];
        }
        picture.data[at + 3] = 255;
      }
    }
    context.putImageData(picture, 0, 0);
    panel.source.changed();
    bar(panel);
  }

  function bar(panel) {
    const context = panel.bar.getContext("2d");
    const table = tables[state.colours];
    const stretch = STRETCHES[state.stretch];
    for (let i = 0; i < 256; i += 1) {
      const step = 3 * Math.round(255 * stretch(i / 255));
      context.fillStyle = `rgb(${table[step]},${table[step + 1]},${table[step + 2]})`;
      context.fillRect(i, 0, 1, 1);
    }
    panel.ticks.replaceChildren(...[0, 0.5, 1].map((part) =>
      element("span", {text: brightness(state.low + part * (state.high - state.low))})));
  }

  function drawer(panel) {
    return (extent, resolution, ratio, size) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [Math.ceil(size[0]), Math.ceil(size[1])];
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      const k = size[0] / (extent[2] - extent[0]);
      const [x0, y0, x1, y1] = panel.extent;
      context.drawImage(panel.canvas, (x0 - extent[0]) * k, (extent[3] - y1) * k, (x1 - x0) * k, (y1 - y0) * k);
      return canvas;
    };
  }

  function layer(style, order) {
    const source = new ol.source.Vector();
    return [source, new ol.layer.Vector({source, style, zIndex: order, updateWhileInteracting: true, updateWhileAnimating: true})];
  }

  function cross([x, y], gap, arm) {
    return [[1, 0], [-1, 0], [0, 1], [0, -1]].map(([dx, dy]) => new ol.Feature(new ol.geom.LineString([
      [x + dx * gap, y + dy * gap], [x + dx * arm, y + dy * arm]])));
  }

  function makePanel(image, pixels, first) {
    const [ny, nx] = image.shape;
    const panel = {image, pixels, sky: new Sky(image.sky), canvas: element("canvas", {width: nx, height: ny})};
    panel.extent = extentOf(panel.sky, image.shape, first);
    panel.target = element("div", {class: "map"});
    panel.bar = element("canvas", {class: "bar", width: 256, height: 1});
    panel.ticks = element("div", {class: "ticks"});
    panel.value = element("span", {class: "value"});
    const caption = element("figcaption", {}, element("b", {text: image.title}), element("span", {text: beamText(image.beam)}),
      element("span", {text: `rms ${brightness(image.rms)}`}),
      element("span", {text: image.dynamic_range === null ? "" : `DR ${image.dynamic_range.toPrecision(3)}`}),
      element("span", {class: "links"}, element("a", {href: image.links.fits, text: "FITS"}), element("a", {href: image.links.png, text: "PNG"})));
    byId("panels").append(element("figure", {class: `panel ${image.date ? "" : "combined"}`, "data-image": image.name},
      panel.target, panel.bar, panel.ticks, caption));
    [panel.lines, panel.linesLayer] = layer((feature) => (feature.get("level") < 0 ? NEGATIVE : LINE[0]), 2);
    [panel.marks, panel.marksLayer] = layer(CROSS, 3);
    [panel.cursor, panel.cursorLayer] = layer(CURSOR, 4);
    panel.source = new ol.source.ImageCanvas({projection: view.getProjection(), ratio: 1, canvasFunction: drawer(panel)});
    panel.map = new ol.Map({
      target: panel.target, view, layers: [new ol.layer.Image({source: panel.source}), panel.linesLayer, panel.marksLayer, panel.cursorLayer],
      controls: ol.control.defaults.defaults({attribution: false, rotate: false}),
      interactions: ol.interaction.defaults.defaults({altShiftDragRotate: false, pinchRotate: false}),
    });
    panel.target.append(panel.value);
    panel.map.on("pointermove", (event) => point(event.coordinate));
    panel.target.addEventListener("pointerleave", () => point(null));
    addBeam(panel);
    return panel;
  }

  function addBeam(panel) {
    if (!panel.image.beam) return;
    const space = "http://www.w3.org/2000/svg";
    panel.svg = document.createElementNS(space, "svg");
    panel.svg.setAttribute("class", "beam");
    panel.ellipse = document.createElementNS(space, "ellipse");
    panel.svg.append(panel.ellipse);
    panel.target.append(panel.svg);
  }

  function sizeBeam(panel) {
    if (!panel.svg) return;
    const {bmaj, bmin, bpa} = panel.image.beam;
    const scale = 1800 / panel.image.sky.cell / view.getResolution() * (panel.extent[2] - panel.extent[0]) / panel.image.shape[1];
    const [rx, ry] = [bmaj * scale, bmin * scale];
    const side = Math.ceil(2 * rx) + 4;
    panel.svg.setAttribute("width", side);
    panel.svg.setAttribute("height", side);
    panel.ellipse.setAttribute("rx", rx);
    panel.ellipse.setAttribute("ry", ry);
    panel.ellipse.setAttribute("transform", `translate(${side / 2} ${side / 2}) rotate(${panel.sky.screenAngle(bpa)})`);
  }

  function point(place) {
    for (const panel of panels) {
      panel.cursor.clear();
      panel.value.textContent = "";
      if (place === null) continue;
      const [x0, y0, x1, y1] = panel.extent;
      const [ny, nx] = panel.image.shape;
      const column = Math.floor(((place[0] - x0) / (x1 - x0)) * nx);
      const row = Math.floor(((place[1] - y0) / (y1 - y0)) * ny);
      if (column < 0 || row < 0 || column >= nx || row >= ny) continue;
      const value = panel.pixels[row * nx + column];
      panel.value.textContent = Number.isNaN(value) ? "blank" : `${brightness(value)}/beam`;
      panel.cursor.addFeatures(cross(place, 0, 3 * (whole[2] - whole[0])));
    }
    const first = panels[0];
    const where = place === null || !first.sky.known ? null : first.sky.toSky(place[0] - 0.5, place[1] - 0.5);
    byId("readout").textContent = where === null ? " " : `${directionText(where)}  (${where[0].toFixed(5)}°, ${where[1].toFixed(5)}°)  pixel ${place.map(Math.floor).join(", ")}`;
  }

  async function contours() {
    byId("problem").hidden = true;
    for (const panel of panels) panel.lines.clear();
    if (!state.contours) return;
    const known = new Map();
    for (const panel of panels) {
      const from = state.contours === "own" ? panel : panels.find((one) => one.image.name === state.contours);
      if (!known.has(from)) {
        const answer = await fetch(`${from.image.links.contours}?levels=${encodeURIComponent(state.levels)}`);
        const found = await answer.json();
        if (!answer.ok) {
          byId("problem").textContent = found.error;
          byId("problem").hidden = false;
          return;
        }
        known.set(from, found);
      }
      const {levels, lines} = known.get(from);
      const [x0, y0, x1, y1] = from.extent;
      const [ny, nx] = from.image.shape;
      const onMap = ([x, y]) => [x0 + ((x + 0.5) / nx) * (x1 - x0), y0 + ((y + 0.5) / ny) * (y1 - y0)];
      levels.forEach((level, i) => panel.lines.addFeatures(lines[i].map((line) => new ol.Feature({
        geometry: new ol.geom.LineString(line.map(onMap)), level}))));
    }
    byId("job").dataset.contours = state.contours;
  }

  function marks(target) {
    for (const panel of panels) {
      panel.marks.clear();
      if (byId("cross").checked) panel.marks.addFeatures(cross(target, 0.03 * (whole[2] - whole[0]), 0.08 * (whole[2] - whole[0])));
    }
  }

  function repaint() {
    byId("low").value = Number((1e3 * state.low).toPrecision(4));
    byId("high").value = Number((1e3 * state.high).toPrecision(4));
    panels.forEach(paint);
    remember();
  }

  // The address keeps what is seen, so that it can be passed on.
  function remember() {
    const centre = view.getCenter();
    const words = new URLSearchParams({x: centre[0].toFixed(1), y: centre[1].toFixed(1), zoom: view.getZoom().toFixed(2),
      low: state.low.toPrecision(4), high: state.high.toPrecision(4), colours: state.colours, stretch: state.stretch,
      contours: state.contours, levels: state.levels});
    const link = byId("permalink");
    link.href = `${link.href.split("#")[0]}#${words}`;
  }

  function recall() {
    const words = new URLSearchParams(window.location.hash.slice(1));
    const number = (name) => (words.has(name) && Number.isFinite(Number(words.get(name))) ? Number(words.get(name)) : null);
    if (number("low") !== null && number("high") > number("low")) [state.low, state.high] = [number("low"), number("high")];
    if (words.get("colours") in tables) state.colours = words.get("colours");
    if (words.get("stretch") in STRETCHES) state.stretch = words.get("stretch");
    if (words.get("levels")) state.levels = words.get("levels");
    if (words.get("contours") === "own" || panels.some((panel) => panel.image.name === words.get("contours"))) state.contours = words.get("contours");
    if (number("zoom") !== null && number("x") !== null && number("y") !== null) {
      view.setCenter([number("x"), number("y")]);
      view.setZoom(number("zoom"));
    }
  }

  function controls(job, target) {
    byId("colours").append(...Object.keys(tables).map((name) => element("option", {text: name})));
    byId("contours").append(...job.images.map((image) => element("option", {value: image.name, text: `of ${image.title}`})));
    for (const name of ["colours", "stretch", "contours", "levels"]) byId(name).value = state[name];
    for (const name of ["colours", "stretch"]) {
      byId(name).addEventListener("change", (event) => { state[name] = event.target.value; repaint(); });
    }
    for (const name of ["low", "high"]) {
      byId(name).addEventListener("change", (event) => {
        const value = Number(event.target.value) / 1e3;
        if (Number.isFinite(value) && (name === "low" ? value < state.high : value > state.low)) state[name] = value;
        repaint();
      });
    }
    let before = 0;
    byId("bright").addEventListener("input", (event) => {
      const now = Number(event.target.value);
      state.high = state.low + (state.high - state.low) * 10 ** (before - now);
      before = now;
      repaint();
    });
    for (const name of ["contours", "levels"]) {
      byId(name).addEventListener("change", (event) => { state[name] = event.target.value; contours(); remember(); });
    }
    byId("cross").addEventListener("change", () => marks(target));
    byId("home").addEventListener("click", () => view.fit(whole));
    byId("controls").hidden = false;
  }

  window.showImages = async (job, words) => {
    try {
      tables = await (await fetch("/colours.json")).json();
      const all = await Promise.all(job.images.map(pixelsOf));
      const first = new Sky(job.images[0].sky);
      const [ny, nx] = job.images[0].shape;
      whole = [0, 0, nx, ny];
      const projection = new ol.proj.Projection({code: "pixels", units: "pixels", extent: whole});
      view = new ol.View({projection, center: [nx / 2, ny / 2], zoom: 1, showFullExtent: true, maxResolution: 8, minResolution: 1 / 64,
        extent: [-nx, -ny, 2 * nx, 2 * ny], constrainOnlyCenter: true});
      [state.low, state.high] = job.images[0].scale;
      panels = job.images.map((image, i) => makePanel(image, all[i], first));
      view.fit(whole, {size: panels[0].map.getSize()});
      recall();
      const target = first.known ? first.toPixel(Number(words.ra), Number(words.dec)).map((value) => value + 0.5) : [nx / 2, ny / 2];
      controls(job, target);
      repaint();
      marks(target);
      await contours();
      const sized = () => { panels.forEach(sizeBeam); remember(); };
      view.on("change:resolution", sized);
      view.on("change:center", remember);
      sized();
      window.cutoutView = view;
      byId("job").dataset.viewer = "ready";
    } catch (error) {
      problem(`the images cannot be shown: ${error.message}`);
    }
  };
})();
