// Pixels and directions of images in the SIN and TAN projections, as FITS has them (Calabretta & Greisen 2002).
"use strict";

const RADIAN = Math.PI / 180;

class Sky {
  // `words` has projection, crval, crpix and the matrix cd (degrees a pixel).
  constructor(words) {
    this.words = words;
    this.known = ["SIN", "TAN"].includes(words.projection);
    const [[a, b], [c, d]] = words.cd;
    const det = a * d - b * c;
    this.inverse = [[d / det, -b / det], [-c / det, a / det]];
  }

  // RA and Dec, degrees, of a pixel (from 0, its middle a whole number); null beyond the sphere.
  toSky(x, y) {
    const [[a, b], [c, d]] = this.words.cd;
    const dx = x + 1 - this.words.crpix[0];
    const dy = y + 1 - this.words.crpix[1];
    const l = (a * dx + b * dy) * RADIAN;
    const m = (c * dx + d * dy) * RADIAN;
    let n = 1;
    if (this.words.projection === "SIN") {
      const square = 1 - l * l - m * m;
      if (square < 0) return null;
      n = Math.sqrt(square);
    }
    const [ra0, dec0] = this.words.crval.map((angle) => angle * RADIAN);
    const north = m * Math.cos(dec0) + n * Math.sin(dec0);
    const out = n * Math.cos(dec0) - m * Math.sin(dec0);
    const ra = (ra0 + Math.atan2(l, out)) / RADIAN;
    return [((ra % 360) + 360) % 360, Math.atan2(north, Math.hypot(l, out)) / RADIAN];
  }

  // Pixel of a direction.
  toPixel(ra, dec) {
    const [ra0, dec0] = this.words.crval.map((angle) => angle * RADIAN);
    const east = ra * RADIAN - ra0;
    const delta = dec * RADIAN;
    let l = Math.cos(delta) * Math.sin(east);
    let m = Math.sin(delta) * Math.cos(dec0) - Math.cos(delta) * Math.sin(dec0) * Math.cos(east);
    if (this.words.projection === "TAN") {
      const n = Math.sin(delta) * Math.sin(dec0) + Math.cos(delta) * Math.cos(dec0) * Math.cos(east);
      l /= n;
      m /= n;
    }
    const [[a, b], [c, d]] = this.inverse;
    return [(a * l + b * m) / RADIAN + this.words.crpix[0] - 1, (c * l + d * m) / RADIAN + this.words.crpix[1] - 1];
  }

  // Degrees by which an ellipse that lies along x on the screen has to be turned (clockwise) for a position angle.
  screenAngle(positionAngle) {
    const [[a, b], [c, d]] = this.inverse;
    const east = Math.sin(positionAngle * RADIAN);
    const north = Math.cos(positionAngle * RADIAN);
    return -Math.atan2(c * east + d * north, a * east + b * north) / RADIAN;
  }
}

function sexagesimal(degrees, parts, digits) {
  const sign = degrees < 0 ? "-" : "";
  let units = Math.round(Math.abs(degrees) * 3600 * 10 ** digits);
  const whole = 3600 * 10 ** digits;
  const first = Math.floor(units / whole);
  units -= first * whole;
  const second = Math.floor(units / (60 * 10 ** digits));
  const third = (units - second * 60 * 10 ** digits) / 10 ** digits;
  const two = (value) => String(value).padStart(2, "0");
  return `${sign}${two(first)}${parts[0]}${two(second)}${parts[1]}${third.toFixed(digits).padStart(3 + digits, "0")}${parts[2]}`;
}

function directionText([ra, dec]) {
  return `${sexagesimal((ra / 15) % 24, ["h", "m", "s"], 2)} ${dec < 0 ? "" : "+"}${sexagesimal(dec, ["°", "′", "″"], 1)}`;
}
