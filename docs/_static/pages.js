document.addEventListener('DOMContentLoaded', () => {
  // On a narrow page each cell of a table is shown with the heading of its column (pages.css).
  for (const table of document.querySelectorAll('article table.docutils')) {
    const headings = [...table.querySelectorAll('thead th')].map((cell) => cell.innerText.trim());
    for (const row of table.querySelectorAll('tbody tr')) {
      [...row.cells].forEach((cell, column) => {
        const text = cell.innerText.trim();
        if (!text) cell.dataset.empty = '';
        // A number alone in the first column needs its heading, too.
        if (headings[column] && (column || /^\d+$/.test(text))) cell.dataset.label = headings[column];
      });
    }
  }
  // A short option, such as --json, is not broken after its hyphens. A long path in a table is
  // broken after its separators.
  for (const code of document.querySelectorAll('article code .pre')) {
    const cell = code.closest('td');
    if (code.textContent.length <= (cell ? 16 : 24)) code.classList.add('unbroken');
    else if (cell) {
      cell.classList.add('path');
      const parts = code.textContent.split(/(?<=[/.(,=])(?=\w{3})/);
      code.replaceChildren(...parts.flatMap((part) => [part, document.createElement('wbr')]).slice(0, -1));
    }
  }
});
