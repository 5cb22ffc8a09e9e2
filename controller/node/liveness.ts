/** What a node's record says of its being there. Pure. */
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { NodeRecord } from "../objects.ts";

/** A node that nobody has a record of does not answer either. */
export const isSilent = (node: NodeRecord | undefined): boolean => node?.status.session?.state !== NodeSessionState.CONNECTED;

/** An administrator has stated that nothing of the node runs, and the node has not come back since. */
export const isFenced = (node: NodeRecord | undefined): boolean => node?.status.fence !== undefined && isSilent(node);
