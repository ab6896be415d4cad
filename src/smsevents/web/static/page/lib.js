// The one place that names the file of the vendored libraries.
export {
  Component,
  Fragment,
  html,
  render,
  useCallback,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "./vendor/preact-htm-11.2.0-3.1.1.js";
