// Without this the page shows everything, by kind of question; with it, what is asked for.
const [kind, words, told] = ["kind", "words", "told"].map((id) => document.getElementById(id));
const samples = [...document.querySelectorAll("article")].map((node) => ({ node, text: node.textContent.toLowerCase() }));
function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/);
  for (const { node, text } of samples) {
    const named = !kind.value || node.parentElement.id === kind.value;
    node.hidden = !named || !wanted.every((word) => text.includes(word));
  }
  for (const group of document.querySelectorAll("details.group")) group.hidden = !group.querySelector("article:not([hidden])");
  told.textContent = `${samples.filter(({ node }) => !node.hidden).length} shown`;
}
document.getElementById("filter").hidden = false;
kind.addEventListener("input", filter);
words.addEventListener("input", filter);
filter();
