/** What travels between two programs: encoded bytes in frames, as gRPC has them on a connection. */
import type { Metadata, Status } from "nice-grpc-common";

/** "call" opens a stream, says all that the client has to say, and closes its half: one packet, as HTTP/2 sends it. */
export type ClientFrame = { kind: "open" } | { kind: "call"; bytes: Uint8Array } | { kind: "message"; bytes: Uint8Array } | { kind: "half-close" } | { kind: "cancel" };
/** An "end" may carry the one answer of its call. */
export type ServerFrame = { kind: "message"; bytes: Uint8Array } | { kind: "end"; code: Status; details: string; trailer: Metadata; bytes?: Uint8Array };

/** One side's ear for what the other one sends. */
export type Ear<F> = (frame: F) => void;
