"""Invented people: given and family names as they are written, each with its spelling in Latin letters."""

Name = tuple[str, str]
"""(as written, in Latin letters); the Latin letters make the e-mail address."""


def _plain(text: str) -> tuple[Name, ...]:
    return tuple((word, word.lower()) for word in text.split())


def _pairs(text: str) -> tuple[Name, ...]:
    words = text.split()
    return tuple(zip(words[::2], words[1::2], strict=True))


GIVEN: dict[str, tuple[Name, ...]] = {
    "en": _plain(
        "Alice Amara Arthur Beatrix Callum Chloe Clara Daniel Edith Elliot Emma Ethan Fiona Freya George Grace Hannah "
        "Harry Imogen Isaac Ivy Jack James Jasmine Kofi Laura Leo Lucy Maya Miles Nadia Noah Olive Oscar Poppy Priya "
        "Rachel Reuben Rosa Ruby Samuel Sofia Theo Thomas Violet Walter Yasmin Zara"
    ),
    "ar": _pairs(
        "أحمد ahmed أمل amal أمينة amina بدر badr باسم basem تالا tala جميلة jamila حسن hassan حنان hanan خالد khaled "
        "داليا dalia رانيا rania ريم reem زياد ziad سارة sara سامي sami سلمى salma شادي shadi طارق tarek عائشة aisha "
        "عمر omar فاطمة fatima فريد farid كريم karim ليلى layla ماجد majed مريم maryam منى mona نادر nader نور nour "
        "هالة hala هشام hisham هدى huda ياسر yasser يوسف youssef"
    ),
    "zh": _pairs(
        "伟 wei 芳 fang 娜 na 敏 min 静 jing 丽 li 强 qiang 磊 lei 洋 yang 艳 yan 勇 yong 杰 jie 涛 tao 明 ming "
        "超 chao 秀兰 xiulan 霞 xia 平 ping 刚 gang 桂英 guiying 子轩 zixuan 浩然 haoran 雨桐 yutong 欣怡 xinyi "
        "梓涵 zihan 思远 siyuan 嘉怡 jiayi 文博 wenbo 晓东 xiaodong 雪梅 xuemei"
    ),
}

FAMILY: dict[str, tuple[Name, ...]] = {
    "en": _plain(
        "Abbott Archer Barlow Bennett Birch Boyd Carver Chambers Clarke Dalton Drake Ellis Fairley Fletcher Foster "
        "Garner Gill Hale Harper Hobbs Hughes Ingram Jarvis Kemp Lambert Lane Marsh Mercer Mistry Nash Norris Okoro "
        "Osborne Palmer Patel Pike Quinn Rahman Reeves Rowe Shaw Sinclair Stone Tanner Vance Walsh Webb Winter Yates"
    ),
    "ar": _pairs(
        "البدري elbadry الحداد alhaddad الخطيب alkhatib الراشد alrashed الزين alzein السالم alsalem الشريف elsherif "
        "الصاوي elsawy العلي alali الفارس alfares القاضي alqadi المصري elmasry المنصور almansour النجار elnaggar "
        "الهاشمي alhashimi درويش darwish رمضان ramadan سليمان soliman شاهين shahin صالح saleh عثمان osman فؤاد fouad "
        "قاسم qasem مراد morad ناصر nasser يعقوب yaqoub"
    ),
    "zh": _pairs(
        "王 wang 李 li 张 zhang 刘 liu 陈 chen 杨 yang 赵 zhao 黄 huang 周 zhou 吴 wu 徐 xu 孙 sun 胡 hu 朱 zhu 高 gao "
        "林 lin 何 he 郭 guo 马 ma 罗 luo 梁 liang 宋 song 郑 zheng 谢 xie 韩 han 唐 tang 冯 feng 于 yu 董 dong 萧 xiao"
    ),
}
