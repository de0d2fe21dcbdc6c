// The texts and signs whose contrast is too low: the ratio of WCAG 2 of each visible one to what lies behind it,
// half-transparent layers and fading included. A list of words for each.
(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3])).concat(1);
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ancestors = (node) => { const all = []; for (; node; node = node.parentElement) all.push(node); return all; };
  const behind = (node) => ancestors(node).reverse().reduce((under, one) => over(rgba(getComputedStyle(one).backgroundColor), under), [255, 255, 255, 1]);
  const wrong = [];
  const check = (node, css, what) => {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.closest('.unseen, .skip, [inert]') || node.matches(':disabled, :disabled *')) return;
    const style = getComputedStyle(node);
    const opacity = ancestors(node).reduce((all, one) => all * getComputedStyle(one).opacity, 1);
    if (opacity < 0.1) return;
    const under = behind(node);
    const top = rgba(css); top[3] *= opacity;
    const [a, b] = [light(over(top, under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (what === 'icon' || large ? 3 : 4.5)) wrong.push(`${what} ${(node.innerText ?? node.outerHTML).slice(0, 40)}: ${ratio.toFixed(2)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.trim() && walker.currentNode.parentElement.closest('noscript') === null) {
    const node = walker.currentNode.parentElement; check(node, getComputedStyle(node).color, 'text');
  }
  for (const node of document.querySelectorAll('svg.icon')) check(node, getComputedStyle(node).stroke, 'icon');
  for (const node of document.querySelectorAll('[placeholder]')) if (!node.value) check(node, getComputedStyle(node, '::placeholder').color, 'placeholder');
  return wrong;
})()
