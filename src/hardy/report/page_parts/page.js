// A click on a head sorts the table by that column, a second one the other way round. Numbers by their value, "–" last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const upwards = head.getAttribute("aria-sort") === "descending" || (!head.ariaSort && !head.classList.contains("number"));
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const value = (row) => {
      const text = row.cells[head.cellIndex].textContent.trim();
      const number = head.classList.contains("number") ? parseFloat(text.replace(/,/g, "")) : NaN;
      return Number.isNaN(number) ? text : number;
    };
    const missing = (row) => ["–", ""].includes(row.cells[head.cellIndex].textContent.trim());
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en");
    };
    const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || (upwards ? 1 : -1) * compare(a, b));
    body.append(...rows);
  });
}
// what is folded is wanted on paper, too
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
