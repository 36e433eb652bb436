/**
 * Fields that keep a browser from running what it gets: no guess at another type, no script, no frame that acts for the
 * site. They go with every answer of an images host, whatever its bytes turn out to be, and with our own error texts.
 */
export const inertFields = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
} as const;
