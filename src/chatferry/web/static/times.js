// Times in the reader's own zone and manner; without this they stand there in UTC.
(function () {
  "use strict";
  var manner = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
  var older = { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
  var lang = document.documentElement.lang;
  var year = new Date().getFullYear();
  document.querySelectorAll("time[datetime]").forEach(function (time) {
    var at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.textContent = at.toLocaleString(lang, at.getFullYear() === year ? manner : older);
    }
  });
})();
