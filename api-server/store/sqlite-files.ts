/**
 * Which file may be opened: the lock that keeps a second process out, the birth of a new file, and the marker beside it
 * that remembers that a store was here, so that a lost or exchanged file is noticed instead of begun anew.
 */
import { closeSync, existsSync, fsyncSync, lstatSync, openSync, readFileSync, readSync, realpathSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { beginOf } from "./audit.ts";
import { formatMark } from "./sqlite-audit.ts";
import type { SqliteFile } from "./sqlite-protocol.ts";
import { APPLICATION_ID, AUDIT_SCHEMA, SCHEMA, SCHEMA_VERSION } from "./sqlite-schema.ts";
import { resultCode } from "./sqlite-thread.ts";
import { lostCommits } from "./sqlite-wal.ts";
import { DataLoss, StoreInUse, StoreRefused } from "./store.ts";

/**
 * `mark` is a number that the database held before it was written here, and that only grows. A database that holds less
 * has lost acknowledged commits, such as with its write-ahead log.
 */
export type Marker = { storeId: string; mark: number };

const SQLITE_BUSY = 5;

/** One path for one file, however it was named, since the lock is found by name. */
export function realPath(path: string): string {
  const directory = dirname(path);
  if (!existsSync(directory)) throw new StoreRefused(`Cannot open the store: the directory ${directory} does not exist`);
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return realpathSync(path);
  return join(realpathSync(directory), basename(path));
}

/**
 * An exclusive transaction on a database of its own. The kernel drops the lock when the process ends, however it ends, so
 * nothing is ever left to clean up.
 */
export function lock(path: string): DatabaseSync {
  const database = new DatabaseSync(`${path}-lock`, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    if (resultCode(error) !== SQLITE_BUSY) throw error;
    throw new StoreInUse(`Cannot open the store ${path}: another process has it open`);
  }
}

/** Before the lock, which leaves a file of its own. */
export function checkMayBegin(path: string, create: boolean): void {
  if (existsSync(path)) return;
  if (readMarker(path)) throw new DataLoss(`The store ${path} was here and is gone: restore it from a backup`);
  if (!create) throw new StoreRefused(`Cannot open the store ${path}: there is none, and none is to be created`);
}

/** Makes the file where there never was one, and refuses whatever is not a store of this version. Call under the lock. */
export function admit({ path, create, identity }: SqliteFile): void {
  checkMayBegin(path, create);
  if (!existsSync(path)) give(path, identity);
  checkHeader(path);
}

/** Before SQLite opens the file, since that rewrites a damaged write-ahead log. */
export function checkWriteAheadLog(path: string): void {
  const log = `${path}-wal`;
  if (existsSync(log) && lostCommits(readFileSync(log))) throw new DataLoss(`The store's write-ahead log ${log} is damaged: commits are lost`);
}

/** The file is the one that was here, and has all that it had. */
export function checkMarker(path: string, { storeId, mark }: Marker): void {
  const marker = readMarker(path);
  if (marker === undefined) return;
  if (marker.storeId !== storeId) {
    throw new StoreRefused(`Cannot open the store ${path}: it is store ${storeId}, but ${marker.storeId} belongs here`);
  }
  if (mark < marker.mark) throw new DataLoss(`The store ${path} lost commits, such as by the loss of its write-ahead log`);
}

export function writeMarker(path: string, { storeId, mark }: Marker): void {
  const place = markerPath(path);
  const file = openSync(`${place}-new`, "w", 0o600);
  writeSync(file, `${storeId} ${mark}\n`);
  fsyncSync(file);
  closeSync(file);
  renameSync(`${place}-new`, place);
  syncDirectory(place);
}

/** Under another name until it is whole, so that a crash on the way leaves nothing that looks like a store. */
function give(path: string, { storeId, incarnation }: SqliteFile["identity"]): void {
  const unborn = `${path}-new`;
  for (const suffix of ["", "-wal", "-shm"]) rmSync(unborn + suffix, { force: true });
  const database = new DatabaseSync(unborn);
  database.exec(SCHEMA);
  const insert = database.prepare("INSERT INTO meta (name, value) VALUES (?, ?)");
  const rows = { store_id: storeId, incarnation, compacted: 0, swept: 0, mark: 0 };
  for (const [name, value] of Object.entries(rows)) insert.run(name, value);
  beginAudit(database, storeId);
  database.close();
  renameSync(unborn, path);
  syncDirectory(path);
}

function beginAudit(database: DatabaseSync, storeId: string): void {
  const insert = database.prepare("INSERT INTO meta (name, value) VALUES (?, ?)");
  for (const end of ["audit_begin", "audit_head"]) insert.run(end, formatMark(beginOf(storeId)));
}

/** From a version that is older and known. Either all of it comes to be or nothing. */
export function upgrade(database: DatabaseSync, storeId: string): void {
  const { user_version: version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
  if (version === SCHEMA_VERSION) return;
  database.exec(`BEGIN IMMEDIATE; ${AUDIT_SCHEMA}`);
  beginAudit(database, storeId);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
}

const MAGIC = "SQLite format 3\0";

/** Read from the bytes, since SQLite would take an empty file for an empty database and write to it. */
function checkHeader(path: string): void {
  const header = Buffer.alloc(100);
  const file = openSync(path, "r");
  const length = readSync(file, header, 0, header.length, 0);
  closeSync(file);
  const refuse = (why: string) => new StoreRefused(`Cannot open the store ${path}: ${why}`);
  if (length === 0) throw refuse("the file is empty");
  if (length < header.length || header.toString("latin1", 0, MAGIC.length) !== MAGIC) throw refuse("it is no SQLite database");
  if (header.readUInt32BE(68) !== APPLICATION_ID) throw refuse("it is a database of another program");
  const version = header.readUInt32BE(60);
  if (version < 1 || version > SCHEMA_VERSION) throw refuse(`its schema is version ${version}, this program knows 1 to ${SCHEMA_VERSION}`);
}

function markerPath(path: string): string {
  return `${path}.initialized`;
}

function readMarker(path: string): Marker | undefined {
  const place = markerPath(path);
  if (!existsSync(place)) return undefined;
  const [storeId, mark] = readFileSync(place, "utf8").trim().split(" ");
  if (storeId === undefined || !/^[0-9]+$/.test(mark ?? "")) throw new DataLoss(`The marker ${place} is damaged`);
  return { storeId, mark: Number(mark) };
}

function syncDirectory(path: string): void {
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
}
