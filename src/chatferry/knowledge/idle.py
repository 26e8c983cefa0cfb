"""Words that questions are put with, and that ask for nothing. What is nothing but such words is small talk."""

from __future__ import annotations

IDLE_WORDS = frozenset(
    """
    a about actually again all also am an and any anyone anything anyway are as ask at be been being but by bye can
    cant could day did do does doe doing done dont either else ever evening every excuse explain few fine for from
    get getting give go going good goodby goodbye got great guy had ha has hav have havent having he hello help her
    here hey hi him his hm hmm how however i id if ill im in into is isnt it its ive just kind kindly know let lets
    like look looking lot made mak make many may maybe me mean might morn morning most much must my nam name need nice
    night no not now of off ok okay on one only or other our out over own perhap please pleas possibl possible put
    question quick really right said say see shall she should so some someone somebody someth something sorry still
    such sur sure tak take tell than thank thanks that thats the their them then there thes these they thi this thos
    those though to today too try up us use very want was way we well were what whats when where wher whether which who
    whom whos whose whos why will wish with without wonder wont work would wouldnt yeah yes yet you your youre yours
    """.split()
)
"""As `terms` makes them of a text."""

IDLE_PHRASES = """
    請問 請教 想問 想知道 想請問 請告訴我 告訴我 我想 我要 我們 你們 您們 他們 大家 你好 您好 妳好 哈囉 嗨 早安 午安 晚安 早上好 晚上好
    謝謝 多謝 感謝 再見 拜拜 好的 沒事 不客氣 不好意思 對不起 麻煩 幫我 幫忙 可以 可不可以 能不能 能否 是否 是不是 有沒有 會不會
    要不要 什麼時候 什麼 甚麼 怎麼辦 怎麼樣 怎麼 怎樣 如何 為什麼 為何 哪裡 哪裏 哪邊 哪些 哪一個 哪個 哪種 多少錢 多少 多久 多長時間
    幾點 幾天 幾個 幾次 誰 嗎 呢 吧 啊 喔 哦 呀 啦 我 你 您 妳 那麼 那 這個 那個 這 一下 需要 應該 請 還是 或者 知道 覺得 現在 今天
    關於 說明 介紹 有什麼 你是誰
    请问 请教 想问 想请问 请告诉我 告诉我 我们 你们 您们 他们 哈啰 谢谢 多谢 感谢 再见 没事 不客气 对不起 麻烦 帮我 帮忙 有没有 会不会
    什么时候 什么 甚么 怎么办 怎么样 怎么 怎样 为什么 为何 哪里 哪边 哪一个 哪个 哪种 多少钱 多长时间 几点 几天 几个 几次 谁 吗 那么 这个
    那个 应该 还是 觉得 现在 关于 说明 介绍
    教えてください 教えて 知りたいのですが 知りたいです 知りたい お聞きしたい 聞きたい ください お願いします お願い ありがとうございます
    ありがとう こんにちは こんばんは おはようございます おはよう さようなら すみません ごめんなさい はじめまして よろしく 了解です 了解
    お元気 元気 ですか ますか でしょうか でしょう ません ました ます です どうやって どうすればいい どうすれば どうしたら どのくらい
    どれくらい どのように どんな どの どこ どれ どちら どう いつ いくら いくつ 何ですか 何時 何日 何円 何か 何 なに なぜ だれ 誰
    できますか できます できる したい について とは という もの こと それ これ あれ その この あの では じゃあ そして また 場合
""".split()
"""Where words are written without blanks."""
