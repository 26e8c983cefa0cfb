// Times in the reader's own zone and manner; without this they stand there in UTC.
(function () {
  "use strict";
  var manner = { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  var lang = document.documentElement.lang;
  document.querySelectorAll("time[datetime]").forEach(function (time) {
    var at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.textContent = at.toLocaleString(lang, manner);
    }
  });
})();
