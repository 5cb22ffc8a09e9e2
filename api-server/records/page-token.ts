/** Opaque page tokens: where a list goes on, at which revision, and that it is the same list. Pure. */
import { createHash } from "node:crypto";
import { InvalidArgument, OutOfRange } from "../../lib/errors.ts";

export type PagePlace = { revision: string; after: string };
/** What makes two lists the same, the store included. */
export type ListIdentity = { storeId: string; kind: string; namespace: string; labelSelector: string; fieldSelector: string };

const LIFE_MS = 10 * 60_000;

export function formatPageToken({ revision, after }: PagePlace, list: ListIdentity, nowMs: number): string {
  const body = JSON.stringify([revision, after, nowMs]);
  return Buffer.from(JSON.stringify([body, seal(body, list)])).toString("base64url");
}

/** Throws InvalidArgument for a token of another list or of nobody, OutOfRange for one past its life. */
export function parsePageToken(token: string, list: ListIdentity, nowMs: number): PagePlace {
  const [body, sealed] = strings(Buffer.from(token, "base64url").toString("utf8"), 2);
  if (body === undefined || seal(body, list) !== sealed) {
    throw new InvalidArgument([{ path: "page_token", message: "must be the next_page_token of the same list: same kind, namespace and selectors" }]);
  }
  const [revision, after, madeAtMs] = JSON.parse(body) as [string, string, number];
  if (nowMs - madeAtMs > LIFE_MS) {
    throw new OutOfRange("The page token is older than 10 minutes: list again from the start", { reason: "PAGE_TOKEN_EXPIRED" });
  }
  return { revision, after };
}

function seal(body: string, list: ListIdentity): string {
  const { storeId, kind, namespace, labelSelector, fieldSelector } = list;
  const text = JSON.stringify([body, storeId, kind, namespace, labelSelector, fieldSelector]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

function strings(text: string, count: number): string[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.length === count && value.every((item) => typeof item === "string") ? value : [];
  } catch {
    return [];
  }
}
