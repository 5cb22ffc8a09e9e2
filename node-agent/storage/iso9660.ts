/**
 * A CD image with a few small files in its root (pure). The same files give the same bytes on every host, which no tool
 * promises: a guest that moves goes on reading the CD that it has mounted. Two trees name the same data: the plain one
 * of ISO 9660 and Joliet's, whose names are as given.
 */
export type IsoFile = { name: string; content: Buffer };

const SECTOR = 2048;
const SYSTEM_AREA_SECTORS = 16;
const DIRECTORY_FLAG = 2;
const RECORD_HEADER = 33;
/** Root and its own parent. */
const SELF = Buffer.from([0]);
const PARENT = Buffer.from([1]);
const UTF16_LEVEL_3 = Buffer.from("%/E", "latin1");

type Extent = { sector: number; bytes: number };
/** One naming of the files: the plain one or Joliet's. */
type Tree = { type: 1 | 2; text: (text: string) => Buffer; name: (name: string) => Buffer; space: Buffer };

const PLAIN: Tree = {
  type: 1,
  text: (text) => Buffer.from(text.toUpperCase(), "latin1"),
  name: (name) => Buffer.from(`${name.toUpperCase()}.;1`, "latin1"),
  space: Buffer.from(" "),
};
const JOLIET: Tree = {
  type: 2,
  text: utf16,
  name: utf16,
  space: utf16(" "),
};

/** `label` is at most 15 characters of ASCII. Files come in the order given. */
export function isoImage(label: string, files: readonly IsoFile[]): Buffer {
  const treeSector = SYSTEM_AREA_SECTORS + 3;
  const dataSector = treeSector + 6;
  const extents = layOut(dataSector, files);
  const total = extents.reduce((end, { sector, bytes }) => Math.max(end, sector + sectors(bytes)), dataSector);
  const image = Buffer.alloc(total * SECTOR);
  [PLAIN, JOLIET].forEach((tree, index) => {
    // Each tree has a little-endian path table, a big-endian one and its root directory, a sector each.
    const first = treeSector + index * 3;
    const root = { sector: first + 2, bytes: SECTOR };
    descriptor({ tree, label, total, pathTable: first, root }).copy(image, (SYSTEM_AREA_SECTORS + index) * SECTOR);
    pathTable(root, "little").copy(image, first * SECTOR);
    pathTable(root, "big").copy(image, (first + 1) * SECTOR);
    directory(tree, root, { files, extents }).copy(image, root.sector * SECTOR);
  });
  Buffer.from("\xffCD001\x01", "latin1").copy(image, (SYSTEM_AREA_SECTORS + 2) * SECTOR);
  files.forEach(({ content }, index) => content.copy(image, extents[index]!.sector * SECTOR));
  return image;
}

function layOut(first: number, files: readonly IsoFile[]): Extent[] {
  let sector = first;
  return files.map(({ content }) => {
    const extent = { sector, bytes: content.length };
    sector += sectors(content.length);
    return extent;
  });
}

/** The volume descriptor; every number in it is written in both byte orders. */
function descriptor({ tree, label, total, pathTable, root }: { tree: Tree; label: string; total: number; pathTable: number; root: Extent }): Buffer {
  const block = Buffer.alloc(SECTOR);
  block.writeUInt8(tree.type, 0);
  block.write("CD001\x01", 1, "latin1");
  for (const [start, end] of [[8, 40], [40, 72], [190, 813]] as const) block.fill(tree.space, start, end);
  tree.text(label).copy(block, 40);
  both32(block, 80, total);
  if (tree.type === JOLIET.type) UTF16_LEVEL_3.copy(block, 88);
  both16(block, 120, 1);
  both16(block, 124, 1);
  both16(block, 128, SECTOR);
  both32(block, 132, pathTableEntry(root, "little").length);
  block.writeUInt32LE(pathTable, 140);
  block.writeUInt32BE(pathTable + 1, 148);
  record(SELF, root, DIRECTORY_FLAG).copy(block, 156);
  // Four dates that are not given: digits of zero and a zone of zero.
  for (const start of [813, 830, 847, 864]) block.fill("0", start, start + 16);
  block.writeUInt8(1, 881);
  return block;
}

function pathTable(root: Extent, order: "little" | "big"): Buffer {
  const block = Buffer.alloc(SECTOR);
  pathTableEntry(root, order).copy(block);
  return block;
}

/** The root alone: length of its name, its sector, itself as parent, the name and a byte of padding. */
function pathTableEntry({ sector }: Extent, order: "little" | "big"): Buffer {
  const entry = Buffer.alloc(10);
  entry.writeUInt8(SELF.length, 0);
  if (order === "little") {
    entry.writeUInt32LE(sector, 2);
    entry.writeUInt16LE(1, 6);
  } else {
    entry.writeUInt32BE(sector, 2);
    entry.writeUInt16BE(1, 6);
  }
  return entry;
}

function directory(tree: Tree, root: Extent, { files, extents }: { files: readonly IsoFile[]; extents: readonly Extent[] }): Buffer {
  const entries = files.map(({ name }, index) => ({ name: tree.name(name), extent: extents[index]! }));
  entries.sort((a, b) => Buffer.compare(a.name, b.name));
  const records = entries.map(({ name, extent }) => record(name, extent, 0));
  return Buffer.concat([record(SELF, root, DIRECTORY_FLAG), record(PARENT, root, DIRECTORY_FLAG), ...records]);
}

/** A directory record; its date of zeros reads as "not given". */
function record(name: Buffer, { sector, bytes }: Extent, flags: number): Buffer {
  const length = RECORD_HEADER + name.length;
  const entry = Buffer.alloc(length + (length % 2));
  entry.writeUInt8(entry.length, 0);
  both32(entry, 2, sector);
  both32(entry, 10, bytes);
  entry.writeUInt8(flags, 25);
  both16(entry, 28, 1);
  entry.writeUInt8(name.length, 32);
  name.copy(entry, RECORD_HEADER);
  return entry;
}

function both32(block: Buffer, offset: number, value: number): void {
  block.writeUInt32LE(value, offset);
  block.writeUInt32BE(value, offset + 4);
}

function both16(block: Buffer, offset: number, value: number): void {
  block.writeUInt16LE(value, offset);
  block.writeUInt16BE(value, offset + 2);
}

function sectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR);
}

/** Joliet writes the high byte first. */
function utf16(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}
