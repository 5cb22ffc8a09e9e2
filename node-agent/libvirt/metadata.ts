/**
 * Drover's element among a domain's metadata (pure). libvirt keeps it under a namespace; whoever writes it uses the
 * prefix `drover`, which libvirt also gives back.
 */
export const METADATA_PREFIX = "drover";
export const METADATA_URI = "https://drover.dev/domain/1";

const DECLARATION = ` xmlns:${METADATA_PREFIX}="${METADATA_URI}"`;
/** A tag, whole: values in it may contain `>`. */
const TAG = /<(\/?)([\w.:-]+)(?:[^<>"']|"[^"]*"|'[^']*')*?(\/?)>/g;

/**
 * The text of Drover's element in a domain's XML, from its opening tag to its closing one. The block is cut from
 * libvirt's own output, which puts `<metadata>` directly below the root; other owners' elements are skipped.
 */
export function droverElement(domainXml: string): string | undefined {
  const block = /\n {2}<metadata>(.*?)\n {2}<\/metadata>/s.exec(domainXml)?.[1];
  if (block === undefined) return undefined;
  let depth = 0;
  let start = 0;
  let mine = false;
  for (const tag of block.matchAll(TAG)) {
    const [text, closing, name, selfClosing] = tag;
    if (closing === "" && depth === 0) {
      start = tag.index;
      mine = name!.startsWith(`${METADATA_PREFIX}:`) && text.includes(METADATA_URI);
    }
    if (selfClosing === "") depth += closing === "" ? 1 : -1;
    if (depth === 0 && mine) return block.slice(start, tag.index + text.length);
  }
  return undefined;
}

/** What `withoutNamespace` took away, which libvirt leaves out of an element that it is asked for by its namespace. */
export function withNamespace(element: string): string {
  const prefixed = element.replace(TAG, (tag) => tag.replace(/^<(\/?)(?![\w.-]+:)/, `<$1${METADATA_PREFIX}:`));
  return prefixed.replace(/^<[\w.:-]+/, (name) => name + DECLARATION);
}

/** libvirt adds prefix and namespace by itself when it stores an element, and refuses one that already has them. */
export function withoutNamespace(element: string): string {
  return element.replace(TAG, (tag) => tag.replace(DECLARATION, "").replace(/^<(\/?)drover:/, "<$1"));
}
