// Gives the live page one address after the other; leaves what it shows of output, before each and at the end, as JSON in #seen.
const seen = [];
const output = () => document.querySelector('section[aria-label="Output"]').outerHTML;
ADDRESSES.forEach((address, index) => setTimeout(() => {
  seen.push(output());
  location.hash = address;
}, 1000 * (index + 1)));
setTimeout(() => {
  seen.push(output());
  document.body.append(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
}, 1000 * (ADDRESSES.length + 1));
