// Paper: the table, then each listed part on a page of its own. Parts are opened one after another,
// since their pictures are unpacked only then, and what each shows is kept as pictures.

const MANY = 50; // parts above which it is asked first
let stopping = false;

function askToPrint() {
  const ids = listed();
  if (!ids.length) return;
  const threshold = state.thresholds[state.group];
  const rejected = ids.filter((id) => verdictOf(rowOf(id)[1], threshold) === "rejected");
  if (ids.length <= MANY) return printParts(ids);
  const choose = (chosen) => (event) => {
    event.preventDefault(); // which would close the dialog
    printParts(chosen);
  };
  const some = element("button", `The ${rejected.length} rejected`, { id: "print-rejected" });
  some.disabled = !rejected.length;
  some.addEventListener("click", choose(rejected));
  const all = element("button", `All ${ids.length}`, { id: "print-all" });
  all.addEventListener("click", choose(ids));
  tellOfPrinting(`${ids.length} parts are listed; each takes a page of its own.`, some, all);
}

function tellOfPrinting(text, ...buttons) {
  byId("printing-text").textContent = text;
  byId("printing-choice").replaceChildren(...buttons);
  if (!byId("printing").open) byId("printing").showModal();
}

async function printParts(ids) {
  stopping = false;
  const sheets = byId("sheets");
  sheets.replaceChildren();
  try {
    byId("overview").hidden = true;
    byId("part").hidden = false;
    for (const [i, id] of ids.entries()) {
      tellOfPrinting(`Part ${i + 1} of ${ids.length} is made ready …`);
      state.open = id;
      await openPart(id);
      await new Promise((done) => setTimeout(done)); // lets Stop through
      if (stopping || state.open !== id) break; // or another part was gone to
      sheets.append(sheetOf(byId("part")));
    }
    await Promise.all([...sheets.querySelectorAll("img")].map((image) => image.decode()));
  } finally {
    byId("printing").close();
    state.open = null;
    route();
  }
  if (sheets.children.length === ids.length) window.print();
  else sheets.replaceChildren();
}

// What the page of the opened part shows, as it is, without what can be clicked.
function sheetOf(page) {
  const sheet = element("section", null, { class: "sheet" });
  sheet.append(...[...page.cloneNode(true).children].filter((child) => !child.matches(".walk")));
  if (!opened) sheet.querySelector(".views").remove(); // it could not be unpacked
  else if (cloud) cloud.now(); // not when the screen is drawn next: it may still show another part's
  for (const canvas of sheet.querySelectorAll("canvas")) {
    const shown = byId(canvas.id);
    canvas.replaceWith(element("img", null, { alt: "", src: shown.toDataURL("image/jpeg", 0.9) }));
  }
  for (const one of sheet.querySelectorAll("[id]")) {
    one.classList.add(one.id);
    one.removeAttribute("id");
  }
  return sheet;
}

byId("print").addEventListener("click", askToPrint);
byId("printing").addEventListener("close", () => (stopping = true));
window.addEventListener("afterprint", () => byId("sheets").replaceChildren());
