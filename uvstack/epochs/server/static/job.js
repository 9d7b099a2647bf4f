// A page of a job: asks how far it is until it has ended, then shows what it made.
"use strict";

const page = document.getElementById("job");
const byId = (name) => document.getElementById(name);

function element(name, words = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(words)) {
    if (key === "class") made.className = value; else if (key === "text") made.textContent = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Three digits with the unit that suits them.
function brightness(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const [factor, unit] = size >= 1 ? [1, "Jy"] : size >= 1e-3 ? [1e3, "mJy"] : [1e6, "µJy"];
  return `${Number((value * factor).toPrecision(3))} ${unit}`;
}

function beamText(beam) {
  if (!beam) return "no beam";
  return `${(beam.bmaj * 3600).toFixed(2)}″ × ${(beam.bmin * 3600).toFixed(2)}″, ${beam.bpa.toFixed(1)}°`;
}

function problem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = false;
  byId("progress").hidden = true;
}

function showRow(image) {
  const files = element("td", {}, element("a", {href: image.links.fits, text: "FITS"}), " ",
    element("a", {href: image.links.png, text: "PNG"}));
  const cells = [image.title, image.band, image.versions.join(", "), beamText(image.beam), brightness(image.rms),
    brightness(image.peak), image.dynamic_range === null ? "–" : image.dynamic_range.toPrecision(3)];
  byId("table").tBodies[0].append(element("tr", {}, ...cells.map((text) => element("td", {text})), files));
}

function showPictures(images) {
  for (const image of images) {
    const caption = element("figcaption", {}, element("b", {text: image.title}), element("span", {text: beamText(image.beam)}),
      element("span", {text: `rms ${brightness(image.rms)}`}));
    byId("panels").append(element("figure", {class: "panel"}, element("img", {src: image.links.png, alt: image.title}), caption));
  }
}

function downloads(files) {
  const names = Object.keys(files).filter((name) => !name.endsWith(".png"));
  names.sort((one, other) => (other === "all.zip") - (one === "all.zip"));
  for (const name of names) {
    byId("downloads").append(element("a", {href: files[name], text: name === "all.zip" ? "everything (ZIP)" : name}));
  }
}

function showPosition(job) {
  for (const text of job.warnings) byId("remarks").append(element("li", {text}));
  byId("remarks").hidden = job.warnings.length === 0;
  job.images.forEach(showRow);
  byId("panels").classList.toggle("three", [3, 5, 6, 9].includes(job.images.length));
  downloads(job.files);
  byId("results").hidden = false;
  if (window.showImages) window.showImages(job, page.dataset); else showPictures(job.images);
  page.dataset.ready = "yes";
}

function showLines(job) {
  for (const line of job.lines) {
    const row = byId(`line-${line.line}`);
    if (!row) continue;
    row.classList.toggle("bad", Boolean(line.error));
    row.querySelector(".answer").textContent = line.error || [...(line.epochs || []), ...(line.warnings || [])].join(", ");
  }
  const bad = job.lines.filter((line) => line.error).length;
  byId("count").textContent = bad ? `${bad} of the lines cannot be used` : "all lines can be used";
}

async function look() {
  let job;
  try {
    const answer = await fetch(page.dataset.self);
    job = await answer.json();
    if (!answer.ok) return problem(job.error);
  } catch {
    byId("step").textContent = "the server does not answer; still trying";
    setTimeout(look, 3000);
    return undefined;
  }
  const bar = page.querySelector("progress");
  bar.max = job.total;
  bar.value = job.done;
  byId("step").textContent = job.step;
  if (job.kind === "batch") showLines(job);
  if (job.state === "failed") return problem(job.error);
  if (job.state !== "done") {
    setTimeout(look, job.kind === "batch" ? 1500 : 400);
    return undefined;
  }
  byId("progress").hidden = true;
  if (job.kind === "position") return showPosition(job);
  downloads(job.files);
  page.dataset.ready = "yes";
  return undefined;
}

look();
