/**
 * Header fields that keep a browser from running a response: no MIME sniffing, no scripts, no frame that acts for the
 * site. Every response of an images host has them, whatever its content, and so do our own error responses.
 */
export const inertFields = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
} as const;
