// Each cell knows the heading of its column, for pages too narrow for columns (pages.css).
document.addEventListener('DOMContentLoaded', () => {
  for (const table of document.querySelectorAll('article table.docutils')) {
    const headings = [...table.querySelectorAll('thead th')].map((cell) => cell.innerText.trim());
    for (const row of table.querySelectorAll('tbody tr')) {
      [...row.cells].forEach((cell, column) => {
        if (!cell.innerText.trim()) cell.dataset.empty = '';
        if (column && headings[column]) cell.dataset.label = headings[column];
      });
    }
  }
});
