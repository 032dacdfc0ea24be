// Search, filters, folding and copying. Without it the page shows the same, and folds by itself.
"use strict";
(() => {
  const form = document.querySelector(".controls");
  const rows = [...document.querySelectorAll(".row")];
  const modules = [...document.querySelectorAll(".module > details")];
  const notAll = document.querySelector(".left-out") ? "; not all lines are on this page" : "";
  let wasOpen = null; // which modules were, before something was asked for

  // --- which keys a line holds -----------------------------------------------------------------

  // A key is a list of parts: a text, integers as [width, first, last, ...], or {any: [parts, ...]}.
  const keys = new Map();
  const toLower = (_, value) => typeof value === "string" ? value.toLowerCase() : value;
  const keysOf = (row) => {
    if (!keys.has(row)) {
      const given = [row.dataset.key, row.dataset.from].filter(Boolean);
      keys.set(row, given.map((one) => JSON.parse(one, toLower)));
    }
    return keys.get(row);
  };

  const holdsInteger = ([width, ...runs], low, high) => {
    for (let at = 0; at < runs.length; at += 2) {
      if (runs[at] <= high && low <= runs[at + 1]) return true;
    }
    return false;
  };

  // Whether some integer is written as these digits, or (at the end of what is sought) begins so.
  const isWritten = (part, digits, mayGoOn) => {
    const width = part[0];
    if (width ? digits.length === width : digits === "0" || digits[0] !== "0") {
      if (holdsInteger(part, Number(digits), Number(digits))) return true;
    }
    if (!mayGoOn) return false;
    let low = Number(digits), high = low;
    for (let length = digits.length; length < 18; length += 1) {
      low *= 10; high = high * 10 + 9;
      if (width ? length + 1 === width : digits[0] !== "0") {
        if (holdsInteger(part, low, high)) return true;
      }
      if (low > Number.MAX_SAFE_INTEGER) break;
    }
    return false;
  };

  // Whether the text from `at` on stands where these parts begin.
  const follows = (parts, number, text, at) => {
    if (at === text.length) return true;
    if (number === parts.length) return false;
    const part = parts[number];
    if (typeof part === "string") {
      const length = Math.min(part.length, text.length - at);
      return part.slice(0, length) === text.slice(at, at + length)
        && follows(parts, number + 1, text, at + length);
    }
    if (Array.isArray(part)) {
      const digits = /^[0-9]{1,18}/.exec(text.slice(at));
      if (!digits) return false;
      const end = at + digits[0].length;
      return isWritten(part, digits[0], end === text.length) && follows(parts, number + 1, text, end);
    }
    const rest = parts.slice(number + 1);
    return part.any.some((one) => follows([...one, ...rest], 0, text, at));
  };

  const contains = (parts, text) => parts.some((part, number) => {
    const rest = parts.slice(number + 1);
    if (typeof part === "string") {
      for (let start = part.indexOf(text[0]); start >= 0; start = part.indexOf(text[0], start + 1)) {
        if (follows([part.slice(start), ...rest], 0, text, 0)) return true;
      }
      return false;
    }
    if (Array.isArray(part)) return follows(parts, number, text, 0);
    return part.any.some((one) => contains([...one, ...rest], text));
  });

  // A line as it is printed, with the modules that it is in, and where it comes from.
  const printed = new Map();
  const printedOf = (row) => {
    if (!printed.has(row)) {
      const path = [row.querySelector(".key").textContent];
      for (let at = row.parentElement.closest("details"); at; at = at.parentElement.closest("details")) {
        path.unshift(at.querySelector("summary > .key").textContent);
      }
      const beside = [...row.querySelectorAll(".names, .from, .said")].map((one) => one.textContent);
      printed.set(row, [path.join("."), ...beside].join("\n").toLowerCase());
    }
    return printed.get(row);
  };

  // --- filters ---------------------------------------------------------------------------------

  const wanted = () => {
    const given = new FormData(form);
    return {
      text: (given.get("text") || "").trim().toLowerCase(),
      fate: given.get("fate") || "",
      rule: given.get("rule") || "",
      dtype: given.get("dtype") || "",
    };
  };

  const fits = (row, { text, fate, rule, dtype }) =>
    (!fate || row.dataset.fate === fate)
    && (!rule || row.dataset.rule === rule)
    && (!dtype || row.dataset.dtype.split(" ").includes(dtype))
    && (!text || keysOf(row).some((key) => contains(key, text)) || printedOf(row).includes(text));

  const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  const filter = () => {
    const asked = wanted();
    const isAsked = Object.values(asked).some(Boolean);
    const holding = new Set();
    if (isAsked) wasOpen ??= modules.map((module) => module.open);
    let lines = 0, tensors = 0;
    for (const row of rows) {
      const shown = fits(row, asked);
      row.hidden = !shown;
      if (!shown) continue;
      lines += 1;
      tensors += Number(row.dataset.count);
      for (let at = row.parentElement.closest("details"); at && !holding.has(at); at = at.parentElement.closest("details")) {
        holding.add(at);
      }
    }
    modules.forEach((module, number) => {
      module.parentElement.hidden = !holding.has(module);
      if (isAsked) module.open = holding.has(module);
      else if (wasOpen) module.open = wasOpen[number];
    });
    if (!isAsked) wasOpen = null;
    for (const tree of document.querySelectorAll(".tree")) {
      tree.hidden = isAsked && !tree.querySelector(".row:not([hidden])");
    }
    for (const line of document.querySelectorAll(".code .chosen")) line.classList.remove("chosen");
    if (asked.rule) document.getElementById(`r${asked.rule}`)?.classList.add("chosen");
    form.querySelector(".matches").textContent = isAsked
      ? `${lines.toLocaleString("en")} of ${plural(rows.length, "line")}, ${plural(tensors, "tensor")}${notAll}`
      : "";
  };

  const choose = (name, value) => {
    for (const element of form.elements) if (element.name) element.value = "";
    form.elements[name].value = value;
    filter();
  };

  // --- what is clicked and typed -----------------------------------------------------------------

  const copy = async (button) => {
    const block = document.getElementById(button.dataset.copy);
    const name = button.dataset.name ??= button.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(block.textContent);
    } catch {
      getSelection().selectAllChildren(block); // what can't be copied is marked, to be copied by hand
      done = document.execCommand("copy");
    }
    button.textContent = done ? "copied" : "marked: copy it by hand";
    setTimeout(() => { button.textContent = name; }, 2000);
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-copy], [data-do], a[data-filter]");
    if (!target) return;
    if (target.dataset.copy) copy(target);
    else if (target.dataset.do) modules.forEach((module) => { module.open = target.dataset.do === "open"; });
    else choose(target.dataset.filter, target.dataset.value);
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && form) {
      event.preventDefault();
      form.elements.text.focus();
    } else if (event.key === "Escape" && event.target.matches("input")) {
      form.reset();
    }
  });

  let beforePrinting = [];
  addEventListener("beforeprint", () => {
    beforePrinting = modules.map((module) => module.open);
    modules.forEach((module) => { module.open = true; });
  });
  addEventListener("afterprint", () => {
    modules.forEach((module, number) => { module.open = beforePrinting[number]; });
  });

  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  if (!form) return;
  form.hidden = false;
  let waiting = 0;
  form.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(filter);
  });
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
})();
