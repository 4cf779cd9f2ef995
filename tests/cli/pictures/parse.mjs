// What Graphviz's and Mermaid's own parsers understand of each file: its nodes by id, with the lines that are
// drawn in them, and its edges. One JSON array for all files.
import { readFile } from 'node:fs/promises';
import { instance } from '@viz-js/viz';
import { JSDOM } from 'jsdom';

const { window } = new JSDOM('');
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import('mermaid');
mermaid.initialize({});
const viz = await instance();

// Edges are read from Graphviz's JSON, lines from what it draws.
function dot(text) {
  const graph = viz.renderJSON(text);
  const name = (index) => graph.objects[index].name;
  const edge = (edge) => ({ from: name(edge.tail), to: name(edge.head), label: edge.label ?? '' });
  const drawing = viz.renderString(text, { format: 'svg' });
  const page = new window.DOMParser().parseFromString(drawing, 'image/svg+xml');
  const drawn = (group) => {
    const lines = [...group.querySelectorAll('text')].map((line) => line.textContent.replaceAll('\u00a0', ' '));
    return [group.querySelector('title').textContent, lines];
  };
  return {
    nodes: Object.fromEntries([...page.querySelectorAll('g.node')].map(drawn)),
    edges: (graph.edges ?? []).map(edge),
  };
}

// Mermaid keeps entities in a form of its own until it draws, as HTML.
function lines(text) {
  const html = text.replaceAll('ﬂ°°', '&#').replaceAll('ﬂ°', '&').replaceAll('¶ß', ';');
  return html.split(/<br\s*\/?>/).map((line) => {
    const element = window.document.createElement('div');
    element.innerHTML = line;
    return element.textContent;
  });
}

async function chart(text) {
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  const edge = (edge) => ({ from: edge.start, to: edge.end, label: edge.text });
  return {
    nodes: Object.fromEntries([...db.getVertices().values()].map((node) => [node.id, lines(node.text)])),
    edges: db.getEdges().map(edge),
  };
}

const understood = [];
for (const path of process.argv.slice(2)) {
  const text = await readFile(path, 'utf8');
  try {
    understood.push(path.endsWith('.dot') ? dot(text) : await chart(text));
  } catch (error) {
    understood.push({ error: String(error.message ?? error) });
  }
}
process.stdout.write(JSON.stringify(understood));
